"""Tables, functions and views of subscriptions, creators and payouts."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID, uuid4

import pytest
import trio

from cookcam.database import SERVICE, Database, Jsonb
from cookcam.errors import AppError, ConstraintViolation, DatabaseError, DuplicateEntry, NotFound
from tests.support.users import create_user

NOW = datetime.now(UTC)
DAY = timedelta(days=1)

SUBSCRIBE = """
    insert into user_subscriptions (
      user_id, tier_id, status, current_period_start, current_period_end, provider,
      provider_subscription_id, superseded_status
    )
    values (%(user)s, %(tier)s, %(status)s, %(end)s - interval '30 days', %(end)s, %(provider)s,
      %(ref)s, %(superseded)s)
    returning id
"""


async def subscribe(
    database: Database, user: UUID, status: str = "active", end: datetime = NOW + DAY, **given: Any
) -> UUID:
    values = {"tier": 2, "provider": "stripe", "ref": f"sub_{uuid4()}", "superseded": None} | given
    async with database.transaction() as tx:
        return await tx.fetch_value(SUBSCRIBE, user=user, status=status, end=end, **values)


async def value(database: Database, query: LiteralString, **params: object) -> Any:
    return await database.fetch_value_as(SERVICE, query, **params)


async def do(database: Database, statement: LiteralString, **params: object) -> Any:
    async with database.transaction() as tx:
        return await tx.fetch_value(statement, **params)


# Entitlement


ENTITLED: list[tuple[str, timedelta, int]] = [
    ("active", DAY, 2),
    ("active", -DAY, 1),
    ("trialing", DAY, 2),
    ("trialing", -DAY, 1),
    ("past_due", DAY, 2),
    ("past_due", -6 * DAY, 2),
    ("past_due", -8 * DAY, 1),
    ("cancelled", DAY, 1),
    ("expired", DAY, 1),
    ("incomplete", DAY, 1),
]


async def test_entitlement_by_subscription_status(database: Database, database_url: str) -> None:
    for status, left, tier in ENTITLED:
        user = await create_user(database_url)
        await subscribe(database, user, status, NOW + left)
        got = await value(database, "select user_tier_id(%(u)s)", u=user)
        assert got == tier, (status, left)


async def test_features_follow_the_tier(database: Database, database_url: str) -> None:
    has = "select user_has_feature_access(%(u)s, %(key)s)"
    seen: list[list[bool]] = []
    for tier in (None, 2, 3):
        user = await create_user(database_url)
        if tier is not None:
            await subscribe(database, user, tier=tier)
        keys = ("export_pdf", "creator_dashboard", "no_such_feature")
        seen.append([await value(database, has, u=user, key=key) for key in keys])
    assert seen == [[False, False, False], [True, False, False], [True, True, False]]


async def test_one_live_row_for_each_user_and_one_row_for_each_subscription(
    database: Database, database_url: str
) -> None:
    ann, bob = await create_user(database_url), await create_user(database_url)
    await subscribe(database, ann, ref="sub_" + ann.hex)
    for status in ("active", "trialing", "past_due"):
        with pytest.raises(DuplicateEntry):
            await subscribe(database, ann, status)
    for status in ("cancelled", "cancelled", "expired", "expired", "incomplete"):
        await subscribe(database, ann, status)
    with pytest.raises(DuplicateEntry):
        await subscribe(database, bob, ref="sub_" + ann.hex)
    await subscribe(database, bob, ref="sub_" + ann.hex, provider="ios")


async def test_invalid_subscription_violates_a_constraint(
    database: Database, database_url: str
) -> None:
    user = await create_user(database_url)
    for wrong in (
        {"status": "canceled"},
        {"status": "paused"},
        {"provider": "paypal"},
        {"ref": None},
        {"superseded": "active"},
        {"status": "cancelled", "superseded": "expired"},
    ):
        with pytest.raises(ConstraintViolation):
            await subscribe(database, user, **wrong)
    await subscribe(database, user, provider="manual", ref=None)


# Events of providers


async def test_one_of_many_concurrent_claims_succeeds(database: Database) -> None:
    event = f"evt_{uuid4()}"
    claim = "select claim_stripe_event(%(id)s, 'invoice.paid', %(payload)s, null, true)"
    payload = Jsonb({"created": 1_700_000_000})
    results: Counter[str] = Counter()

    async def run() -> None:
        results[await do(database, claim, id=event, payload=payload)] += 1

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(run)
    assert results == {"claimed": 1, "in_progress": 19}
    row = await database.fetch_one_as(
        SERVICE, dict, "select * from stripe_webhook_events where event_id = %(id)s", id=event
    )
    assert (row["attempts"], row["payload"]) == (1, {"created": 1_700_000_000})
    assert row["provider_created_at"] == datetime.fromtimestamp(1_700_000_000, UTC)


STRIPE = (
    "select claim_stripe_event(%(id)s, 't', '{}', 'acct_1', false)",
    "update stripe_webhook_events set status = %(status)s, claimed_at = now() - %(age)s,"
    " attempts = %(attempts)s where event_id = %(id)s returning 1",
    "select attempts from stripe_webhook_events where event_id = %(id)s",
)
STORE = (
    "select claim_iap_notification('ios', %(id)s, 'DID_RENEW', '{}')",
    "update iap_webhook_logs set status = %(status)s, claimed_at = now() - %(age)s,"
    " attempts = %(attempts)s where notification_id = %(id)s returning 1",
    "select attempts from iap_webhook_logs where notification_id = %(id)s",
)


@pytest.mark.parametrize("statements", [STRIPE, STORE], ids=["stripe", "store"])
async def test_failed_or_stale_event_is_claimed_again(
    database: Database, statements: tuple[LiteralString, LiteralString, LiteralString]
) -> None:
    claim, become, attempts = statements
    event = f"evt_{uuid4()}"
    assert await do(database, claim, id=event) == "claimed"
    old, fresh = timedelta(minutes=6), timedelta(minutes=4)
    cases = [
        ("processing", fresh, 1, "in_progress", 1),
        ("processing", old, 1, "claimed", 2),
        ("failed", fresh, 2, "claimed", 3),
        ("failed", fresh, 10, "claimed", 10),
        ("processed", old, 3, "duplicate", 3),
    ]
    if statements is STORE:
        cases.append(("ignored", old, 3, "duplicate", 3))
    for status, age, before, response, after in cases:
        await do(database, become, id=event, status=status, age=age, attempts=before)
        assert await do(database, claim, id=event) == response
        assert await value(database, attempts, id=event) == after


# Creators


async def book(database: Database, creator: UUID, cents: int, **given: Any) -> int:
    values = {"kind": "commission", "at": NOW - 30 * DAY, "tip": None, "conversion": None} | given
    return await do(
        database,
        "insert into creator_ledger"
        " (creator_id, kind, amount_cents, source_ref, occurred_at, tip_id, conversion_id)"
        " values (%(creator)s, %(kind)s, %(cents)s, %(ref)s, %(at)s, %(tip)s, %(conversion)s)"
        " returning id",
        creator=creator,
        cents=cents,
        ref=given.pop("ref", f"test:{uuid4()}"),
        **{key: item for key, item in values.items() if key != "ref"},
    )


async def unpaid(database: Database, creator: UUID) -> int:
    return await value(database, "select calculate_creator_unpaid_balance(%(c)s)", c=creator)


PAY = "select request_creator_payout(%(c)s, %(cents)s, 'stripe', %(key)s)"


async def test_concurrent_payouts_pay_the_balance_once(
    database: Database, database_url: str
) -> None:
    creator = await create_user(database_url)
    await book(database, creator, 5000)
    results: Counter[str] = Counter()

    async def run(key: str) -> None:
        try:
            await do(database, PAY, c=creator, cents=2000, key=key)
            results["accepted"] += 1
        except DatabaseError:
            results["refused"] += 1

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(run, f"{creator}:{number}")
    assert results == {"accepted": 2, "refused": 18}
    assert await unpaid(database, creator) == 1000


async def test_repeated_request_returns_the_same_payout(
    database: Database, database_url: str
) -> None:
    creator = await create_user(database_url)
    await book(database, creator, 2000)
    first = await do(database, PAY, c=creator, cents=2000, key=creator.hex)
    assert await do(database, PAY, c=creator, cents=2000, key=creator.hex) == first
    for cents, key in ((999, "low"), (1000, "over")):
        with pytest.raises(DatabaseError):
            await do(database, PAY, c=creator, cents=cents, key=creator.hex + key)
    with pytest.raises(AppError):
        await do(database, PAY, c=uuid4(), cents=1000, key=uuid4().hex)
    for status, left in (
        ("processing", 0),
        ("completed", 0),
        ("failed", 2000),
        ("cancelled", 2000),
    ):
        await do(
            database,
            "update creator_payouts set status = %(s)s where id = %(id)s returning 1",
            s=status,
            id=first,
        )
        assert await unpaid(database, creator) == left


async def test_held_earnings_are_not_payable_but_clawbacks_are_deducted(
    database: Database, database_url: str
) -> None:
    creator = await create_user(database_url)
    await book(database, creator, 3000, at=NOW - 8 * DAY)
    await book(database, creator, 9000, at=NOW - 6 * DAY)
    assert await unpaid(database, creator) == 3000
    await book(database, creator, -500, kind="refund", at=NOW)
    assert await unpaid(database, creator) == 2500
    await book(database, creator, -9999, kind="adjustment", at=NOW)
    assert await unpaid(database, creator) == 0


async def test_ledger_entries_are_immutable(database: Database, database_url: str) -> None:
    creator = await create_user(database_url)
    entry = await book(database, creator, 100, ref=f"stripe:{creator}")
    with pytest.raises(DuplicateEntry):
        await book(database, creator, 100, ref=f"stripe:{creator}")
    for change in (
        "update creator_ledger set amount_cents = 1 where id = %(id)s returning 1",
        "delete from creator_ledger where id = %(id)s returning 1",
    ):
        with pytest.raises(ConstraintViolation):
            await do(database, change, id=entry)
    for cents, kind in ((-1, "commission"), (-1, "tip"), (0, "refund")):
        with pytest.raises(ConstraintViolation):
            await book(database, creator, cents, kind=kind)
    await do(database, "delete from users where id = %(id)s returning 1", id=creator)
    left = "select creator_id from creator_ledger where id = %(id)s"
    assert await value(database, left, id=entry) is None


async def test_monthly_revenue(database: Database, database_url: str) -> None:
    creator, reader, other = [await create_user(database_url) for _ in range(3)]
    march = datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC)
    april = datetime(2026, 4, 1, tzinfo=UTC)
    conversion = await do(
        database,
        "insert into affiliate_conversions (creator_id, subscriber_id, tier_id, converted_at)"
        " values (%(c)s, %(s)s, 2, %(at)s) returning id",
        c=creator,
        s=reader,
        at=datetime(2026, 3, 2, tzinfo=UTC),
    )
    await do(
        database,
        "insert into affiliate_conversions (creator_id, subscriber_id, tier_id, converted_at,"
        " deactivated_at) values (%(c)s, %(s)s, 2, %(at)s, %(end)s) returning id",
        c=creator,
        s=other,
        at=datetime(2026, 1, 2, tzinfo=UTC),
        end=march,
    )
    tip = await do(
        database,
        "insert into creator_tips (creator_id, tipper_id, amount_cents)"
        " values (%(c)s, %(s)s, 500) returning id",
        c=creator,
        s=reader,
    )
    await book(database, creator, 700, at=datetime(2026, 2, 1, tzinfo=UTC))
    await book(database, creator, 120, at=march, conversion=conversion)
    await book(database, creator, 500, kind="tip", at=march, tip=tip)
    await book(database, creator, -20, kind="refund", at=march, conversion=conversion)
    await book(database, creator, -100, kind="refund", at=march, tip=tip)
    await book(database, creator, 70, kind="collection", at=march)
    await book(database, creator, 5, kind="adjustment", at=march)
    await book(database, creator, 999, at=april)
    revenue = "select * from calculate_creator_monthly_revenue(%(c)s, %(m)s, 2026)"

    async def month(number: int) -> dict[str, Any]:
        return await database.fetch_one_as(SERVICE, dict, revenue, c=creator, m=number)

    assert await month(3) == {
        "affiliate_cents": 100,
        "tips_cents": 400,
        "collections_cents": 70,
        "total_cents": 575,
        "active_referrals": 2,
        "new_referrals": 1,
        "lost_referrals": 1,
        "payout_status": "pending",
    }
    assert (await month(2))["active_referrals"] == 1
    april_figures = await month(4)
    assert (april_figures["active_referrals"], april_figures["total_cents"]) == (1, 999)
    await do(database, PAY, c=creator, cents=1000, key=creator.hex)
    await do(
        database,
        "update creator_payouts set status = 'completed' where creator_id = %(c)s returning 1",
        c=creator,
    )
    assert [(await month(n))["payout_status"] for n in (1, 2, 3, 4)] == [
        "pending", "paid", "partially_paid", "pending",
    ]  # fmt: skip


async def test_clicks_and_conversions_are_counted(database: Database, database_url: str) -> None:
    creator, reader = await create_user(database_url), await create_user(database_url)
    link = await do(
        database,
        "insert into creator_affiliate_links (creator_id, link_code, custom_slug)"
        " values (%(c)s, %(code)s, %(slug)s) returning id",
        c=creator,
        code=f"CHEF_{creator.hex[-8:].upper()}",
        slug=f"soups-{creator.hex[:8]}",
    )
    click = (
        "insert into affiliate_link_clicks (link_id, ip_hash, hour_bucket)"
        " values (%(l)s, %(ip)s, date_trunc('hour', now())) on conflict do nothing"
    )
    async with database.transaction() as tx:
        assert [await tx.execute(click, l=link, ip=ip) for ip in ("a", "a", "b")] == [1, 0, 1]
        await tx.execute(
            "insert into affiliate_conversions (link_id, creator_id, subscriber_id, tier_id)"
            " values (%(l)s, %(c)s, %(s)s, 2)",
            l=link,
            c=creator,
            s=reader,
        )
    counted = await database.fetch_one_as(
        SERVICE,
        dict,
        "select click_count, conversions_count from creator_affiliate_links where id = %(l)s",
        l=link,
    )
    assert counted == {"click_count": 2, "conversions_count": 1}
    for code in ("CC_abcdefgh", "CC_ABC", "CHEF_GGGGGGGG", "X"):
        with pytest.raises(ConstraintViolation):
            await do(
                database,
                "insert into creator_affiliate_links (creator_id, link_code)"
                " values (%(c)s, %(code)s) returning 1",
                c=creator,
                code=code,
            )


async def test_first_attribution_wins_and_is_final_once_converted(
    database: Database, database_url: str
) -> None:
    ann, cid, dan = [await create_user(database_url) for _ in range(3)]
    attribute = (
        "insert into referral_attributions (user_id, referrer_id, link_code)"
        " values (%(u)s, %(r)s, 'CC_AAAAAAAA') returning 1"
    )
    await do(database, attribute, u=ann, r=cid)
    with pytest.raises(DuplicateEntry):
        await do(database, attribute, u=ann, r=dan)
    with pytest.raises(ConstraintViolation):
        await do(database, attribute, u=cid, r=cid)
    change = (
        "update referral_attributions set converted_at = now() where user_id = %(u)s returning 1"
    )
    await do(database, change, u=ann)
    with pytest.raises(ConstraintViolation):
        await do(database, change, u=ann)
    await do(database, "delete from users where id = %(u)s returning 1", u=cid)
    with pytest.raises(NotFound):
        await value(database, "select 1 from referral_attributions where user_id = %(u)s", u=ann)


# Views


async def run_of(database: Database, checked: int, drift: int, errors: int, ms: int = 10) -> UUID:
    return await do(
        database,
        "insert into reconciliation_metrics"
        " (total_checked, drift_detected, errors_count, duration_ms)"
        " values (%(checked)s, %(drift)s, %(errors)s, %(ms)s) returning id",
        checked=checked,
        drift=drift,
        errors=errors,
        ms=ms,
    )


async def test_runs_over_a_threshold_are_alerts(database: Database) -> None:
    cases: list[tuple[tuple[int, ...], list[str]]] = [
        ((100, 5, 10), []),
        ((100, 6, 10), ["HIGH_DRIFT_RATE"]),
        ((100, 0, 11), ["HIGH_ERROR_RATE"]),
        ((100, 6, 11, 300_001), ["HIGH_ERROR_RATE", "HIGH_DRIFT_RATE", "SLOW_EXECUTION"]),
        ((0, 0, 1), ["HIGH_ERROR_RATE"]),
        ((0, 0, 0, 300_000), []),
    ]
    query = "select * from reconciliation_alerts_view where id = %(id)s"
    for figures, alerts in cases:
        found = await database.fetch_optional_as(
            SERVICE, dict, query, id=await run_of(database, *figures)
        )
        assert (found["alerts"] if found else []) == alerts
        if found:
            assert found["alert_level"] == alerts[0]
            checked, drift, errors, *_ = figures
            rates = (found["error_rate_percentage"], found["drift_rate_percentage"])
            assert rates == ((errors, drift) if checked else (None, None))


async def test_daily_health_is_the_mean_of_the_runs(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.execute("truncate reconciliation_metrics")
    for figures in ((100, 10, 0), (0, 0, 2), (3, 1, 0)):
        await run_of(database, *figures)
    row = await database.fetch_one_as(SERVICE, dict, "select * from reconciliation_health_view")
    assert (row["runs_per_day"], row["runs_with_errors"]) == (3, 1)
    assert float(row["drift_rate_percentage"]) == 14.44
    assert float(row["avg_subscriptions_checked"]) == 34.33


async def test_user_with_too_many_validations_is_listed(
    database: Database, database_url: str
) -> None:
    user = await create_user(database_url)
    validate = """
        insert into iap_validation_history
          (user_id, platform, product_id, receipt_hash, transaction_id, status, environment)
        select %(u)s, 'ios', %(product)s, repeat('a', 64), 't' || (n %% 2), %(status)s, %(env)s
        from generate_series(1, %(count)s) n returning 1
    """
    for product, status, env, count in (
        ("five", "valid", "production", 5),
        ("six", "valid", "production", 6),
        ("three", "invalid", "production", 3),
        ("four", "invalid", "production", 4),
        ("one", "valid", "sandbox", 1),
        ("two", "valid", "sandbox", 2),
    ):
        await do(database, validate, u=user, product=product, status=status, env=env, count=count)
    rows = await database.fetch_all_as(
        SERVICE, dict, "select * from iap_fraud_detection_view where user_id = %(u)s", u=user
    )
    assert {row["product_id"] for row in rows} == {"six", "four", "two"}
    six = next(row for row in rows if row["product_id"] == "six")
    assert (six["validation_attempts"], six["unique_transactions"]) == (6, 2)
