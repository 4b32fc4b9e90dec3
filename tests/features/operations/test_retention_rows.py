"""Each row of the table in docs/retention.md: the rows that are deleted and those that stay.

Each test has a separate database, swept as by the server, a few rows at a time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, LiteralString
from uuid import UUID

import pytest
from attrs import define

from cookcam.config import DatabaseConfig
from cookcam.config.readers import Secret
from cookcam.database import Database
from cookcam.features.operations.retention.service import Retention
from cookcam.features.operations.retention.store import SweepStore
from tests.features.operations.test_retention import as_owner_of
from tests.support.users import create_user

PERIOD = "now() - interval '9 years', now() - make_interval(days => days)"


@define
class RetentionRows:
    database: Database
    user_id: UUID

    async def sql(self, statement: LiteralString, **params: Any) -> list[Any]:
        return await as_owner_of(self.database, statement, user_id=self.user_id, **params)

    async def sweep(self) -> dict[str, int]:
        received: list[str] = []
        retention = Retention(
            SweepStore(self.database),
            lambda: datetime.now(UTC),
            lambda name, error: received.append(name),
            batch=2,
        )
        done = await retention.sweep()
        assert received == []
        return done

    async def left(self, statement: LiteralString) -> list[Any]:
        """What a query gives after a sweep, and after a second one, which finds nothing."""
        await self.sweep()
        found = await self.sql(statement)
        assert set((await self.sweep()).values()) == {0}
        assert await self.sql(statement) == found
        return found


@pytest.fixture
async def rows(fresh_database_url: str) -> AsyncIterator[RetentionRows]:
    config = DatabaseConfig(url=Secret(fresh_database_url), pool_min=1, pool_max=2)
    async with Database.open(config) as database:
        yield RetentionRows(database, await create_user(fresh_database_url))


async def test_stripe_events_lose_their_payload_and_then_go(rows: RetentionRows) -> None:
    await rows.sql(
        """insert into stripe_webhook_events
        (event_id, event_type, status, attempts, payload, received_at, next_attempt_at)
        select state || ' ' || days, 'x', split_part(state, ' ', 1), attempts, '{}',
          now() - make_interval(days => days),
          case when state = 'failed' then now() + interval '1 hour' end
        from (values ('processed', 1), ('failed dead', 10), ('failed', 9), ('processing', 1))
          as e (state, attempts), unnest(array[1, 89, 91, 399, 401]) as days"""
    )
    left = await rows.left(
        "select event_id from stripe_webhook_events where payload is not null order by 1"
    )
    waiting = [f"{state} {day}" for state in ("failed", "processing") for day in (1, 89, 91, 399)]
    waiting += ["failed 401", "processing 401"]
    done = [f"{state} {day}" for state in ("failed dead", "processed") for day in (1, 89)]
    assert {name for (name,) in left} == {*waiting, *done}
    cleared = await rows.sql(
        "select event_id from stripe_webhook_events where payload is null order by 1"
    )
    assert [name for (name,) in cleared] == [
        "failed dead 399",
        "failed dead 91",
        "processed 399",
        "processed 91",
    ]


async def test_store_notifications_lose_their_payload_and_then_go(rows: RetentionRows) -> None:
    await rows.sql(
        """insert into iap_webhook_logs
        (platform, notification_id, notification_type, status, attempts, payload, received_at,
         claimed_at)
        select 'ios', state || ' ' || days, 'x', split_part(state, ' ', 1), attempts,
          case when state <> 'failed bare' then '{}'::jsonb end,
          now() - make_interval(days => days),
          case when state = 'processing now' then now()
            else now() - make_interval(days => days) end
        from (values ('processed', 1), ('ignored', 1), ('failed dead', 10), ('failed bare', 2),
          ('failed', 9), ('processing', 1), ('processing now', 10))
          as e (state, attempts), unnest(array[89, 91, 401]) as days"""
    )
    left = await rows.left(
        "select notification_id, payload is null from iap_webhook_logs order by 1"
    )
    assert dict(left) == {
        **{
            f"{state} {days}": False
            for state in ("failed", "processing", "processing now")
            for days in (89, 91, 401)
        },
        **{f"{state} 89": False for state in ("processed", "ignored", "failed dead")},
        **{f"{state} 91": True for state in ("processed", "ignored", "failed dead")},
        "failed bare 89": True,
        "failed bare 91": True,
    }


async def test_validations_lose_the_receipt_the_fruitless_go_and_bindings_stay(
    rows: RetentionRows,
) -> None:
    await rows.sql(
        """insert into iap_validation_history
        (platform, product_id, receipt_hash, transaction_id, status, environment,
         receipt_ciphertext, validation_response, validated_at)
        select 'ios', 'p', repeat('a', 64), status || ' ' || days, status, 'production',
          case when status <> 'pending' then 'x'::bytea end, '{}',
          now() - make_interval(days => days)
        from unnest(array['valid', 'pending', 'invalid', 'error']) as status,
          unnest(array[89, 91, 4000]) as days"""
    )
    await rows.sql(
        "insert into iap_receipt_bindings"
        " (platform, store_key, user_id, first_product_id, first_seen_at)"
        " values ('ios', '1', %(user_id)s, 'p', now() - interval '20 years')"
    )
    left = await rows.left(
        "select transaction_id, receipt_ciphertext is null and validation_response is null"
        " from iap_validation_history order by 1"
    )
    assert dict(left) == {
        **{f"{status} 89": False for status in ("valid", "pending", "invalid", "error")},
        **{f"{status} {days}": True for status in ("valid", "pending") for days in (91, 4000)},
    }
    assert await rows.sql("select store_key from iap_receipt_bindings") == [("1",)]


async def test_ended_subscriptions_and_their_history_are_kept_seven_years(
    rows: RetentionRows,
) -> None:
    await rows.sql(
        f"""with kept as (
          insert into user_subscriptions
          (user_id, tier_id, provider, provider_subscription_id, product_id, status,
           superseded_status, current_period_start, current_period_end, as_of)
          select %(user_id)s, 2, 'stripe', name, name, status, goes_on, {PERIOD},
            now() - make_interval(days => as_of)
          from (values
            ('cancelled', null, 'long ago', 2600, 2600), ('expired', null, 'long gone', 2600, 2600),
            ('incomplete', null, 'never was', 2600, 2600), ('expired', null, 'ended', 2500, 2500),
            ('cancelled', null, 'refunded later', 2600, 2500),
            ('cancelled', 'active', 'superseded', 2600, 2600),
            ('past_due', null, 'goes on', 2600, 2600)
          ) as s (status, goes_on, name, days, as_of)
          returning id, provider_subscription_id
        )
        insert into subscription_history (user_id, subscription_id, action, event_ref, created_at)
        select %(user_id)s, id, 'created', provider_subscription_id || ' ' || days,
          now() - make_interval(days => days)
        from kept, unnest(array[2600, 2500]) as days"""
    )
    await rows.sql(
        """insert into subscription_history (action, event_ref, created_at)
        select 'created', 'nobody ' || days, now() - make_interval(days => days)
        from unnest(array[2600, 2500]) as days"""
    )
    gone = ("long ago", "long gone", "never was")
    kept = ("ended", "goes on", "refunded later", "superseded")
    left = await rows.left("select provider_subscription_id from user_subscriptions order by 1")
    assert [name for (name,) in left] == list(kept)
    history = await rows.sql("select event_ref from subscription_history")
    assert {ref for (ref,) in history} == {
        *(f"{name} {days}" for name in kept for days in (2600, 2500)),
        *(f"{name} 2500" for name in gone),
        "nobody 2500",
    }


NINETY_DAYS: list[tuple[LiteralString, LiteralString]] = [
    (
        "security_events",
        "insert into security_events (type, severity, user_id, path, created_at)"
        " select 'rate_limit', 'low', %(user_id)s, days, now() - make_interval(days => days)",
    ),
    (
        "security_alerts",
        "insert into security_alerts (type, severity, message, created_at)"
        " select 'x', 'low', days, now() - make_interval(days => days)",
    ),
    (
        "blocklist",
        "insert into blocklist (network, reason, created_at, expires_at)"
        " select ('192.0.2.' || least(days, 255))::cidr, days, now() - interval '4 years',"
        " now() - make_interval(days => days)",
    ),
    (
        "notification_logs",
        "insert into notification_logs (user_id, type, title, body, status, created_at)"
        " select %(user_id)s, 'x', 'x', days, 'sent', now() - make_interval(days => days)",
    ),
    (
        "reconciliation_metrics",
        "insert into reconciliation_metrics (duration_ms, reconciled_at)"
        " select 1, now() - make_interval(days => days)",
    ),
    (
        "reconciliation_runs",
        "insert into reconciliation_runs (holder, began_at, finished_at)"
        " select %(user_id)s, now() - interval '4 years', now() - make_interval(days => days)",
    ),
    (
        "recipe_sessions",
        "insert into recipe_sessions (user_id, input_data, suggestions, created_at)"
        " select %(user_id)s, '{}', '[]', now() - make_interval(days => days)",
    ),
]


TIMES: dict[str, LiteralString] = {
    "blocklist": "expires_at",
    "reconciliation_metrics": "reconciled_at",
    "reconciliation_runs": "finished_at",
}


@pytest.mark.parametrize(("table", "fill"), NINETY_DAYS, ids=[name for name, _ in NINETY_DAYS])
async def test_what_is_kept_ninety_days(
    rows: RetentionRows, table: LiteralString, fill: LiteralString
) -> None:
    await rows.sql(fill + " from unnest(array[1, 88, 89, 91, 92, 93, 1000]) as days")
    left = await rows.left(
        f"select extract(day from now() - {TIMES.get(table, 'created_at')})::int"
        f" from {table} order by 1"
    )
    assert left == [(1,), (88,), (89,)]


async def test_security_events_lose_their_address_after_thirty_days(rows: RetentionRows) -> None:
    await rows.sql(
        "insert into security_events (type, severity, ip, user_agent, created_at)"
        " select 'rate_limit', 'low', '192.0.2.1', 'x', now() - make_interval(days => days)"
        " from unnest(array[29, 31]) as days"
    )
    left = await rows.left("select host(ip), user_agent from security_events order by created_at")
    assert left == [(None, None), ("192.0.2.1", "x")]


async def test_unfinished_run_is_kept(rows: RetentionRows) -> None:
    await rows.sql(
        "insert into reconciliation_runs (holder, began_at)"
        " values (%(user_id)s, now() - interval '4 years')"
    )
    assert len(await rows.left("select id from reconciliation_runs")) == 1


async def test_usage_counters_go_after_four_hundred_days(rows: RetentionRows) -> None:
    await rows.sql(
        """insert into usage_counters (user_id, metric, period_start, used)
        select %(user_id)s, 'daily_scans', (now() at time zone 'UTC')::date - days, 1
        from unnest(array[0, 399, 400, 401, 402, 800]) as days"""
    )
    assert await rows.left(
        "select (now() at time zone 'UTC')::date - period_start from usage_counters order by 1"
    ) == [(0,), (399,), (400,)]


async def test_leaderboards_of_past_periods_go_after_ninety_days(rows: RetentionRows) -> None:
    await rows.sql(
        """insert into xp_periods (user_id, period, begins, xp, total_xp, reached_at)
        select %(user_id)s, period, (now() at time zone 'UTC')::date - days, 1, 1, now()
        from unnest(array[0, 89, 90, 91, 800]) as days,
          unnest(array['daily', 'weekly', 'monthly', 'yearly']) as period
        union all select %(user_id)s, 'allTime', '-infinity', 1, 1, now()"""
    )
    kept = "select (now() at time zone 'UTC')::date - begins from xp_periods where period = "
    for period in ("daily", "weekly", "monthly"):
        left = await rows.left(f"{kept}'{period}' order by 1")
        assert left == [(0,), (89,), (90,)]
    assert len(await rows.left(f"{kept}'yearly'")) == 5
    assert await rows.left("select xp from xp_periods where period = 'allTime'") == [(1,)]


async def test_stored_replies_go_when_they_expire(rows: RetentionRows) -> None:
    await rows.sql(
        """insert into idempotency_keys
        (user_id, key, endpoint, request_hash, status_code, created_at, expires_at)
        select %(user_id)s, minutes, '/x', 'h', 200, now() - interval '1 day',
          now() + make_interval(mins => minutes)
        from unnest(array[-1440, -60, -1, 1, 60]) as minutes"""
    )
    assert await rows.left("select key::int from idempotency_keys order by 1") == [(1,), (60,)]


async def test_account_deletions_are_on_record_for_seven_years(rows: RetentionRows) -> None:
    await rows.sql(
        """insert into account_deletions
        (user_hash, user_id, status, deleted_at, completed_at, requested_at, error_message)
        select encode(sha256(name::bytea), 'hex'),
          case status when 'completed' then null else gen_random_uuid() end,
          status, case status when 'completed' then at end,
          case status when 'completed' then at end, at, name
        from (
          select *, now() - make_interval(days => days) as at
          from (values ('completed', 'over', 2600), ('completed', 'on record', 2500),
            ('failed', 'not done', 2600), ('pending', 'waiting', 2600)) as d (status, name, days)
        ) as d"""
    )
    assert await rows.left("select error_message from account_deletions order by 1") == [
        ("not done",),
        ("on record",),
        ("waiting",),
    ]


async def test_settled_charge_reversals_go_after_four_hundred_days(rows: RetentionRows) -> None:
    await rows.sql(
        """insert into charge_reversals
          (provider, provider_subscription_id, reason, status, outcome, noticed_at, settled_at)
        select 'stripe', name, 'closed_account', status,
          case status when 'settled' then 'refunded' end,
          now() - interval '9 years',
          case status when 'settled' then now() - make_interval(days => days) end
        from (values ('settled', 'old', 401), ('settled', 'recent', 399), ('pending', 'open', 999))
          as r (status, name, days)"""
    )
    left = await rows.left("select provider_subscription_id from charge_reversals order by 1")
    assert left == [("open",), ("recent",)]


async def test_recent_recipes_get_a_score_and_older_ones_keep_theirs(rows: RetentionRows) -> None:
    await rows.sql(
        """insert into recipes
        (title, is_published, view_count, rating_sum, created_at, updated_at, trending_score)
        values
          ('new', true, 0, 0, now(), now(), 0),
          ('seen', true, 7, 9, now() - interval '48 hours', now() - interval '2 days', 0),
          ('viral', true, 2000000000, 0, now() - interval '8 hours', now(), 0),
          ('revised', true, 1, 0, now() - interval '9998 hours', now() - interval '29 days', 5),
          ('ahead', true, 0, 0, now() + interval '2 hours', now(), 0),
          ('old', true, 7, 9, now() - interval '31 days', now() - interval '31 days', 5),
          ('draft', false, 7, 9, now(), now(), 0)"""
    )
    edited = await rows.sql("select title, updated_at from recipes order by title")
    await rows.sweep()
    scores = await rows.sql("select title, trending_score::float8 from recipes")
    assert dict(scores) == {
        "new": pytest.approx(50, abs=0.2),
        "seen": pytest.approx(7 + 90 + 100 / 50, abs=0.01),
        "viral": 99_999_999.99,
        "revised": pytest.approx(1 + 100 / 10_000, abs=0.001),
        "ahead": 50,
        "old": 5,
        "draft": 0,
    }
    assert await rows.sql("select title, updated_at from recipes order by title") == edited


async def test_a_score_is_written_once_in_a_sweep_and_again_an_hour_later(
    rows: RetentionRows,
) -> None:
    await rows.sql(
        "insert into recipes (title, is_published, created_at)"
        " select n, true, now() - make_interval(mins => n) from generate_series(1, 9) as n"
    )
    assert (await rows.sweep())["trending scores"] == 9
    before = await rows.sql("select min(trending_score) from recipes")
    await rows.sql("update recipes set created_at = created_at - interval '1 hour'")
    assert (await rows.sweep())["trending scores"] == 9
    after = await rows.sql("select max(trending_score) from recipes")
    assert after[0] < before[0]
