"""Analytics over HTTP, on the assembled app and a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cookcam.features.operations.analytics.responses import (
    BusinessResponse,
    DashboardResponse,
    GlobalResponse,
)
from cookcam.features.operations.analytics.store import EventStore
from cookcam.features.operations.row_buffer import RowBuffer
from tests.features.conftest import ApiUser, Server, open_server

TRACK = "/analytics/track"
DASHBOARD = "/analytics/dashboard"

EVENTS = "select event_type, event_data, metadata, session_id from analytics_events"


@pytest.fixture
async def fresh(fresh_database_url: str) -> AsyncIterator[Server]:
    """A database without any events, and rate limits on."""
    async with open_server(fresh_database_url, ENABLE_RATE_LIMITING="true") as opened:
        yield opened


async def track(user: ApiUser, body: Any) -> dict[str, Any]:
    response = await user.post(TRACK, body)
    assert response.status_code == 201, response.text
    return response.json()


def buffer_of(server: Server) -> RowBuffer:
    return server.container.analytics.buffer


async def events_of(server: Server, user: ApiUser) -> list[Any]:
    return await server.sql(f"{EVENTS} where user_id = %(id)s order by event_type", id=user.id)


async def test_events_are_stored_once_with_their_ids(server: Server, ann: ApiUser, bob: ApiUser):
    data = {"text": 'tab\t quote" back\\slash \\n new\nline', "emoji": "🍕", "n": 0.25, "b": 2**60}
    single = await track(
        ann, {"event_type": "a.single", "event_data": data, "session_id": "s\\\t1", "xp_gained": 99}
    )
    repeated = {"event_type": "b.timed", "metadata": {"timestamp": 5, "platform": "mobile"}}
    batch = await track(ann, {"events": [repeated, repeated, {"event_type": "c"}]})
    assert batch["event_id"] == batch["event_ids"][0] == batch["event_ids"][1]
    await buffer_of(server).flush()
    again = await track(ann, repeated)
    assert again["event_id"] == batch["event_id"]
    assert (await track(bob, repeated))["event_id"] != batch["event_id"]
    await buffer_of(server).flush()

    rows = await events_of(server, ann)
    assert rows == [
        ("a.single", data, {}, "s\\\t1"),
        ("b.timed", {}, {"timestamp": 5, "platform": "mobile"}, None),
        ("c", {}, {}, None),
    ]
    ids = {str(row[0]) for row in await server.sql(
        "select id from analytics_events where user_id = %(id)s", id=ann.id
    )}  # fmt: skip
    assert ids == {single["event_id"], batch["event_id"], batch["event_ids"][2]}
    [(xp,)] = await server.sql("select total_xp from users where id = %(id)s", id=ann.id)
    assert (xp, single["level_up"]) == (0, False)


INVALID: list[tuple[dict[str, Any], str]] = [
    ({"event_type": "ä"}, "event_type"),
    ({"event_type": "x" * 65}, "event_type"),
    ({"event_type": "a\n"}, "event_type"),
    ({"event_type": "a", "event_data": "x" * 8_190}, "event_data"),
    ({"event_type": "a", "metadata": {"timestamp": "1" * 201}}, "metadata.timestamp"),
    ({"event_type": "a", "metadata": [1]}, "metadata"),
    ({"event_type": "a", "session_id": "s" * 201}, "session_id"),
    ({"events": []}, "events"),
    ({"events": [{"event_type": "a"}] * 501}, "events"),
    ({"events": [{"event_type": 5}]}, "events[0].event_type"),
    ({"events": [{"event_type": "a"}, {}]}, "events[1].event_type"),
    ({"events": [{"event_type": "a"}, {"event_type": ""}]}, "event_type"),
]


async def test_invalid_event_is_rejected_and_none_of_its_batch_is_kept(
    server: Server, ann: ApiUser
):
    for body, field in INVALID:
        response = await ann.post(TRACK, body)
        assert (response.status_code, response.json()["details"]["field"]) == (400, field)
    assert buffer_of(server).buffered == 0


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | TEXT,
    lambda values: st.lists(values, max_size=4) | st.dictionaries(TEXT, values, max_size=4),
    max_leaves=12,
)


async def test_any_accepted_json_can_be_stored(server: Server, ann: ApiUser):
    """An event that the database rejected would stop its batch for ever."""
    values: list[Any] = []

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(JSON)
    def collect(value: Any) -> None:
        values.append(value)

    collect()
    accepted = 0
    for number, value in enumerate(values):
        event = {"event_type": f"e{number}", "event_data": value, "session_id": str(value)[:50]}
        response = await ann.request(
            "POST",
            TRACK,
            content=msgspec.json.encode(event),
            headers={"Content-Type": "application/json"},
        )
        accepted += response.status_code == 201
    assert accepted > 100
    await buffer_of(server).flush()
    assert len(await events_of(server, ann)) == accepted


async def test_hundred_queued_events_cost_no_other_request(fresh: Server):
    ann, bob = await fresh.person("Ann"), await fresh.person("Bob")
    for number in range(250):
        await track(ann, {"event_type": f"queued.{number}"})
    for user in (ann, bob):
        assert (await user.get("/users/profile")).status_code == 200
    assert (await fresh.guest.get("/subscription/tiers")).status_code == 200
    # The quota is the user's own.
    statuses = {(await ann.post(TRACK, {"event_type": "a"})).status_code for _ in range(360)}
    assert statuses == {201, 429}
    await track(bob, {"event_type": "a"})
    # Without a valid token the requests are counted like all others of the address.
    statuses = {
        (await fresh.guest.post(TRACK, {"event_type": "a"})).status_code for _ in range(110)
    }
    assert statuses == {401, 429}


async def test_full_buffer_is_503_with_retry_after(server: Server, ann: ApiUser):
    writer = buffer_of(server)
    writer.max_rows = 3
    await track(ann, {"events": [{"event_type": "a"}] * 2})
    rejected = await ann.post(TRACK, {"events": [{"event_type": "b"}] * 2})
    assert (rejected.status_code, rejected.json()["code"]) == (503, "SERVICE_OVERLOADED")
    assert int(rejected.headers["Retry-After"]) > 0
    await track(ann, {"event_type": "c"})
    await writer.flush()
    await track(ann, {"event_type": "d"})
    await writer.flush()
    assert [row[0] for row in await events_of(server, ann)] == ["a", "a", "c", "d"]


async def test_writer_stores_the_rest_when_it_is_stopped(server: Server, ann: ApiUser):
    writer = buffer_of(server)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run)
        await track(ann, {"event_type": "a"})
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert [row[0] for row in await events_of(server, ann)] == ["a"]
    assert (await ann.post(TRACK, {"event_type": "b"})).status_code == 503


async def test_batch_survives_a_failed_write_and_is_stored_once(server: Server, ann: ApiUser):
    writer = buffer_of(server)
    await track(ann, {"event_type": "a"})
    await server.sql("alter table user_active_days rename to lost")
    with pytest.raises(Exception, match="DATABASE_ERROR"):
        await writer.flush()
    await server.sql("alter table lost rename to user_active_days")
    assert (await events_of(server, ann), writer.buffered) == ([], 1)
    # The commit of the first try arrived, its acknowledgement did not.
    await writer.write(list(writer._rows))
    await writer.flush()
    assert len(await events_of(server, ann)) == 1


async def test_event_of_a_deleted_account_is_stored_without_its_data(server: Server, ann: ApiUser):
    body = {"event_type": "error", "event_data": {"stack": "x"}, "session_id": "s"}
    event = (await track(ann, body))["event_id"]
    await server.sql("delete from users where id = %(id)s", id=ann.id)
    await buffer_of(server).flush()
    rows = await server.sql(f"{EVENTS} where id = %(id)s and user_id is null", id=event)
    assert rows == [("error", {}, {}, None)]


async def test_dashboard_counts_the_callers_own_activity_by_utc_day(fresh: Server):
    ann, bob = await fresh.person("Ann"), await fresh.person("Bob")
    await track(bob, {"event_type": "screen_view"})
    await track(ann, {"events": [{"event_type": "screen_view", "event_data": {"s": 1}}] * 2})
    await buffer_of(fresh).flush()
    await fresh.sql(
        "insert into ingredient_scans (user_id, detected_ingredients, confidence_score, created_at)"
        " select %(id)s, '[{\"name\": \"egg\"}]', 0.5, date_trunc('day', now() at time zone 'UTC')"
        " at time zone 'UTC' - make_interval(days => n, mins => -10) from generate_series(1, 8) n",
        id=ann.id,
    )
    await fresh.sql(
        "insert into recipe_sessions (user_id, input_data, suggestions, created_at)"
        " values (%(id)s, '{}', '[]', now() - interval '2 days')",
        id=ann.id,
    )
    await fresh.sql(
        "insert into user_progress (user_id, action, xp_gained, total_xp, old_level, new_level,"
        " created_at) values (%(id)s, 'SAVE_RECIPE', 5, 5, 1, 1, now() - interval '80 days')",
        id=ann.id,
    )
    body = (await ann.get(DASHBOARD, params={"period": "week"})).json()
    msgspec.convert(body, DashboardResponse)
    summary = body["data"]["summary"]
    scans = summary["total_scans"]
    assert scans in (6, 7)  # the oldest one is at the edge of the window
    assert (summary["timeframe"], summary["total_recipes_generated"]) == ("7d", 1)
    assert body["data"]["event_counts"] == {
        "scan": scans, "screen_view": 2, "recipe_generation": 1, "UNLOCK_ACHIEVEMENT": 1
    }  # fmt: skip
    assert sum(body["data"]["timeline"].values()) == scans + 4 == summary["total_events"]
    assert body["data"]["hourly_distribution"]["0"] >= scans
    assert {event["source"] for event in body["data"]["recent_events"]} == {
        "scan", "recipe", "progress"
    }  # fmt: skip
    assert (body["totalUsers"], body["activeUsers"], body["totalScans"]) == (1, 1, scans)
    assert body["growthRate"] > 0
    assert len(body["charts"]["scanActivity"]) == scans
    quarter = (await ann.get(DASHBOARD, params={"timeframe": "90d"})).json()["data"]
    assert quarter["event_counts"]["SAVE_RECIPE"] == 1
    odd = (await ann.get(DASHBOARD, params={"timeframe": "1y", "period": "x"})).json()
    assert odd["data"]["summary"]["timeframe"] == "7d"
    nothing = (await (await fresh.person("Cid")).get(DASHBOARD)).json()
    msgspec.convert(nothing, DashboardResponse)
    assert (nothing["activeUsers"], nothing["data"]["recent_events"]) == (0, [])


async def test_global_and_business_figures_are_for_administrators(fresh: Server):
    ann, admin = await fresh.person("Ann"), await fresh.person("Ada", "admin")
    for path in ("/analytics/global", "/analytics/business"):
        response = await ann.get(path)
        assert (response.status_code, response.json()["error"]) == (403, "Admin access required")
    await track(ann, {"events": [{"event_type": "screen_view"}] * 3})
    await buffer_of(fresh).flush()
    body = (await admin.get("/analytics/global?timeframe=30d")).json()
    msgspec.convert(body, GlobalResponse)
    summary = body["data"]["summary"]
    assert (summary["active_users"], summary["avg_events_per_user"]) == (1, "3.00")
    assert body["data"]["top_actions"] == [{"action": "screen_view", "count": 3}]


SUBSCRIPTION = """
with added as (
  insert into user_subscriptions (user_id, tier_id, status, current_period_start,
    current_period_end, provider, provider_subscription_id)
  values (%(id)s, %(tier)s, %(status)s, now() - interval '1 day',
    now() + %(length)s::interval, 'stripe', gen_random_uuid()::text)
  returning id
)
insert into subscription_history
  (user_id, subscription_id, action, to_tier_id, metadata, created_at)
select %(id)s, added.id, 'renewed', %(tier)s,
  jsonb_build_object('from_status', s.before, 'to_status', s.after),
  date_trunc('month', now()) - s.ago::interval
from added, unnest(%(before)s::text[], %(after)s::text[], %(ago)s::text[]) s(before, after, ago)
"""


async def test_business_figures_follow_subscriptions_and_activity(fresh: Server):
    ann, bob, cid = [await fresh.person(name) for name in ("Ann", "Bob", "Cid")]
    admin = await fresh.person("Ada", "admin")
    # Ann's trial became a yearly subscription; Bob paid last month and stopped; Cid's trial ended.
    started, past = (None, "trialing", "20 days"), "10 days"
    for user, tier, status, length, states in (
        (ann, 2, "active", "364 days", [started, ("trialing", "active", past)]),
        (cid, 2, "expired", "1 day", [started, ("trialing", "expired", past)]),
        (bob, 3, "expired", "1 day", [
            (None, "active", "40 days"), ("active", "expired", "-1 second")
        ]),
    ):  # fmt: skip
        before, after, ago = map(list, zip(*states, strict=True))
        await fresh.sql(
            SUBSCRIPTION, id=user.id, tier=tier, status=status, length=length,
            before=before, after=after, ago=ago,
        )  # fmt: skip
    await fresh.sql("update users set created_at = now() - interval '40 days'")
    await fresh.sql(
        "insert into user_active_days (day, user_id) select (u.created_at at time zone 'UTC')::date"
        " + n, u.id from users u, unnest('{1,7,30}'::int[]) n where u.id = %(id)s",
        id=ann.id,
    )
    await track(bob, {"event_type": "a"})
    await buffer_of(fresh).flush()
    body = (await admin.get("/analytics/business")).json()
    msgspec.convert(body, BusinessResponse)
    data = body["data"]
    today = data["active_users"][0]
    assert (today["daily"], today["weekly"], today["monthly"]) == (1, 1, 2)
    [cohort] = data["retention"]
    users = (await fresh.sql("select count(*) from users"))[0][0]
    assert cohort["users"] == users
    reached = [cohort["day_1"], cohort["day_7"], cohort["day_30"]]
    assert reached[:2] == [1, 1]
    assert reached[2] in (1, None)  # the end of the cohort's week may be less than 30 days ago
    [trials] = data["trial_conversion"]
    assert (trials["trials"], trials["converted"], trials["ended"]) == (2, 1, 1)
    assert [(row["subscribers"], row["lost"]) for row in data["churn"][:2]] == [(2, 1), (1, 0)]
    assert data["recurring_revenue"] == [
        {"tier": "regular", "provider": "stripe", "currency": "USD", "subscriptions": 1,
         "monthly_cents": 333}
    ]  # fmt: skip


async def test_partitions_are_created_ahead_and_dropped_after_400_days(fresh: Server):
    async def partitions() -> list[str]:
        return [
            row[0] for row in await fresh.sql(
                "select relname::text from pg_inherits join pg_class on oid = inhrelid"
                " where inhparent = 'analytics_events'::regclass and relkind = 'r' order by 1"
            )
        ]  # fmt: skip

    store = EventStore(fresh.database)
    current = await partitions()
    assert len(current) == 3
    assert await store.maintain_partitions() == 0
    await fresh.sql(
        "select maintain_analytics_partitions('10 years', now() - interval '15 months')"
    )
    old = await partitions()
    assert len(old) == 18
    await store.maintain_partitions()
    kept = await partitions()
    assert kept == old[-len(kept) :]
    assert 15 <= len(kept) <= 17
    denied = await fresh.sql(
        "select count(*) from pg_class c where c.relnamespace = 'analytics'::regnamespace"
        " and c.relkind = 'r' and (not c.relrowsecurity"
        " or has_table_privilege('authenticated', c.oid, 'select')"
        " or has_table_privilege('anon', c.oid, 'select'))"
    )
    assert denied == [(0,)]
