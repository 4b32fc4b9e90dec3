"""How subscriptions change: by several providers, out of order, repeatedly and at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

import pytest
import trio
from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from cookcam.database import SERVICE, Database
from cookcam.errors import ConstraintViolation
from cookcam.features.billing.errors import SubscriptionBelongsToAnother, UnknownSubscriber
from cookcam.features.billing.ledger.changes import (
    SourceEvent,
    SubscriptionChange,
    elect,
    is_stale,
)
from cookcam.features.billing.ledger.ledger import Applied, SubscriptionLedger
from cookcam.features.billing.tiers.models import LIVE, Provider, Status, Subscription
from cookcam.features.billing.tiers.store import SubscriptionStore
from cookcam.realtime.hub import Hub
from tests.support.users import create_user

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)

SOURCES: dict[Provider, Any] = {
    "stripe": "stripe",
    "ios": "app_store",
    "android": "google_play",
    "manual": "admin",
}


class RecordingHub(Hub):
    """A hub that remembers what was sent to whom."""

    def __init__(self) -> None:
        super().__init__(8)
        self.sent: list[tuple[UUID, str, Any]] = []

    def send_to_user(self, user_id: UUID, event: str, data: object, **_: Any) -> int:
        self.sent.append((user_id, event, data))
        return 0


@frozen
class Subscriber:
    """A user and the ledger; `tell` is what a provider's event says."""

    id: UUID
    ledger: SubscriptionLedger
    hub: RecordingHub

    def change(self, provider: Provider = "stripe", **received: Any) -> SubscriptionChange:
        known: dict[str, Any] = {
            "user_id": self.id,
            "provider": provider,
            "provider_subscription_id": f"{provider}:{self.id}",
            "tier_id": 2,
            "status": "active",
            "current_period_start": NOW - DAY,
            "current_period_end": NOW + 30 * DAY,
            "as_of": NOW,
        }
        return SubscriptionChange(**(known | received))

    async def tell(
        self, provider: Provider = "stripe", ref: str | None = None, **received: Any
    ) -> Applied:
        event = SourceEvent(SOURCES[provider], ref)
        return await self.ledger.apply(self.change(provider, **received), source_event=event)

    async def rows(self) -> dict[Provider, tuple[Status, Status | None]]:
        """Status and superseded status, by provider."""
        rows = await self._all("select * from user_subscriptions where user_id = %(id)s")
        return {row["provider"]: (row["status"], row["superseded_status"]) for row in rows}

    async def history(self) -> list[str]:
        rows = await self._all("select * from subscription_history where user_id = %(id)s")
        return [row["action"] for row in sorted(rows, key=lambda row: row["created_at"])]

    async def tier(self) -> tuple[int, bool]:
        """The tier, and whether the profile says that this is a creator."""
        (row,) = await self._all(
            "select user_tier_id(id) as tier, is_creator from users where id = %(id)s"
        )
        return row["tier"], row["is_creator"]

    async def _all(self, query: Any) -> list[dict[str, Any]]:
        return await self.ledger.database.fetch_all_as(SERVICE, dict, query, id=self.id)

    @property
    def received(self) -> list[tuple[str, str]]:
        assert all(event == "subscription_updated" for _, event, _ in self.hub.sent)
        return [(data.tier, data.status) for _, _, data in self.hub.sent]


@pytest.fixture
def subscriber(database: Database, database_url: str) -> Callable[[], Any]:
    async def make() -> Subscriber:
        hub = RecordingHub()
        ledger = SubscriptionLedger(database, SubscriptionStore(database), hub, lambda: NOW)
        return Subscriber(await create_user(database_url), ledger, hub)

    return make


@pytest.fixture
async def ann(subscriber: Callable[[], Any]) -> Subscriber:
    return await subscriber()


class TestTheCourseOfOne:
    async def test_from_trial_to_end(self, ann: Subscriber):
        course: list[tuple[dict[str, Any], int, str]] = [
            ({"status": "incomplete"}, 1, "created"),
            ({"status": "trialing"}, 2, "renewed"),
            ({"status": "active", "current_period_end": NOW + 60 * DAY}, 2, "renewed"),
            ({"current_period_end": NOW + 90 * DAY}, 2, "renewed"),
            ({"tier_id": 3, "current_period_end": NOW + 90 * DAY}, 3, "upgraded"),
            ({"current_period_end": NOW + 90 * DAY}, 2, "downgraded"),
            (
                {"cancel_at_period_end": True, "current_period_end": NOW + 90 * DAY},
                2,
                "scheduled_cancel",
            ),
            ({"current_period_end": NOW + 90 * DAY}, 2, "reactivated"),
            ({"status": "past_due", "current_period_end": NOW - 6 * DAY}, 2, "past_due"),
            ({"status": "past_due", "current_period_end": NOW - 8 * DAY}, 1, "reconciled"),
            ({"status": "active"}, 2, "renewed"),
            ({"status": "cancelled"}, 1, "cancelled"),
            ({"status": "active"}, 2, "reactivated"),
            ({"status": "expired"}, 1, "expired"),
        ]
        start = {"current_period_start": NOW - 40 * DAY}
        for hour, (received, tier, action) in enumerate(course):
            applied = await ann.tell(as_of=NOW + hour * HOUR, ref=f"evt_{hour}", **start | received)
            assert applied.outcome == "applied", received
            assert await ann.tier() == (tier, tier == 3), received
            assert (await ann.history())[-1] == action, received
        assert ann.received == [
            ("free", "expired"), ("regular", "trial"), ("regular", "active"), ("regular", "active"),
            ("creator", "active"), ("regular", "active"), ("regular", "active"),
            ("regular", "active"), ("regular", "active"), ("free", "expired"),
            ("regular", "active"), ("free", "expired"), ("regular", "active"), ("free", "expired"),
        ]  # fmt: skip

    async def test_what_was_ended_by_a_refund_says_so(self, ann: Subscriber):
        await ann.tell()
        applied = await ann.tell(as_of=NOW + HOUR, status="cancelled", refunded=True)
        assert await ann.history() == ["created", "refunded"]
        assert [row.id for row in applied.ended] == [applied.subscription.id]

    async def test_the_history_names_its_event(self, ann: Subscriber):
        applied = await ann.tell(ref="evt_1", tier_id=3)
        (row,) = await ann._all("select * from subscription_history where user_id = %(id)s")
        assert (row["source"], row["event_ref"]) == ("stripe", "evt_1")
        assert (row["from_tier_id"], row["to_tier_id"]) == (None, 3)
        assert row["subscription_id"] == applied.subscription.id
        assert row["metadata"]["to_status"] == "active"

    async def test_reconciliation_is_recorded_apart(self, ann: Subscriber):
        await ann.tell()
        change = ann.change(status="expired", as_of=NOW + HOUR)
        await ann.ledger.apply(change, source_event=SourceEvent("reconciliation"))
        (row,) = await ann._all(
            "select * from subscription_history where user_id = %(id)s"
            " and source = 'reconciliation'"
        )
        assert (row["action"], row["metadata"]["action"]) == ("reconciled", "expired")

    async def test_change_of_some_fields_keeps_the_others(self, ann: Subscriber):
        known = (await ann.tell(provider_customer_id="cus_1", tier_id=3)).subscription
        change = SubscriptionChange.of(known, as_of=NOW + HOUR, status="past_due")
        applied = await ann.ledger.apply(change, source_event=SourceEvent("stripe", "evt_2"))
        row = await ann.ledger.find("stripe", f"stripe:{ann.id}")
        assert row is not None
        assert applied.subscription.status == row.status == "past_due"
        assert (row.provider_customer_id, row.tier_id) == ("cus_1", 3)


class TestOrderAndRepetition:
    async def test_an_older_state_never_overwrites_a_newer_one(self, ann: Subscriber):
        await ann.tell(as_of=NOW, status="cancelled")
        applied = await ann.tell(as_of=NOW - HOUR, status="active", tier_id=3)
        assert applied.outcome == "stale"
        assert applied.subscription.status == "cancelled"
        assert await ann.tier() == (1, False)
        assert len(ann.received) == 1

    async def test_what_is_known_changes_nothing_but_is_verified(self, ann: Subscriber):
        await ann.tell(as_of=NOW)
        assert (await ann.tell(as_of=NOW)).outcome == "unchanged"
        assert (await ann.tell(as_of=NOW + 2 * HOUR)).outcome == "unchanged"
        assert (await ann.tell(as_of=NOW + HOUR, status="expired")).outcome == "stale"
        assert await ann.history() == ["created"]
        assert len(ann.received) == 1

    async def test_an_event_counts_once(self, ann: Subscriber):
        await ann.tell(ref="evt_1")
        await ann.tell(ref="evt_2", as_of=NOW + HOUR, status="past_due")
        applied = await ann.tell(ref="evt_1", as_of=NOW + 2 * HOUR)
        assert applied.outcome == "repeated"
        assert await ann.rows() == {"stripe": ("past_due", None)}

    async def test_one_event_delivered_many_times_at_once_is_one_line(self, ann: Subscriber):
        outcomes: Counter[str] = Counter()

        async def deliver() -> None:
            outcomes[(await ann.tell(ref="evt_1")).outcome] += 1

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(deliver)
        assert outcomes == {"applied": 1, "repeated": 7}
        assert await ann.history() == ["created"]
        assert len(ann.received) == 1


class TestSeveralProviders:
    async def test_the_best_counts_and_the_other_is_named(self, ann: Subscriber):
        await ann.tell("stripe")
        applied = await ann.tell("ios", tier_id=3)
        assert await ann.rows() == {
            "stripe": ("cancelled", "active"),
            "ios": ("active", None),
        }
        assert [row.provider for row in applied.superseded] == ["stripe"]
        assert applied.ended == []
        assert await ann.tier() == (3, True)
        assert sorted(await ann.history()) == ["cancelled", "created", "created"]

    async def test_a_lesser_one_does_not_take_over(self, ann: Subscriber):
        await ann.tell("stripe", tier_id=3)
        applied = await ann.tell("ios", current_period_end=NOW + 300 * DAY)
        assert applied.subscription.status == "cancelled"
        assert [row.provider for row in applied.superseded] == ["ios"]
        assert await ann.tier() == (3, True)

    async def test_the_other_takes_over_when_the_best_ends(self, ann: Subscriber):
        await ann.tell("stripe")
        await ann.tell("ios", tier_id=3)
        await ann.tell("ios", status="expired", tier_id=3, as_of=NOW + HOUR)
        assert await ann.rows() == {"stripe": ("active", None), "ios": ("expired", None)}
        assert await ann.tier() == (2, False)
        assert ann.received[-1] == ("regular", "active")

    async def test_what_is_paid_for_goes_before_what_was_given(self, ann: Subscriber):
        await ann.tell("manual", current_period_end=NOW + 60 * DAY)
        await ann.tell("stripe")
        assert await ann.rows() == {"manual": ("cancelled", "active"), "stripe": ("active", None)}
        await ann.tell("stripe", status="expired", as_of=NOW + HOUR)
        assert await ann.rows() == {"manual": ("active", None), "stripe": ("expired", None)}

    async def test_what_was_given_ends_nothing_that_is_paid_for(self, ann: Subscriber):
        """Its renewal may only be late; while it is, the days that were given are of use."""

        async def to_be_ended() -> list[int]:
            rows = await ann.ledger.store.superseded(1000)
            return [row.tier_id for row in rows if row.user_id == ann.id]

        await ann.tell("manual", current_period_end=NOW + 60 * DAY)
        late = {"current_period_start": NOW - 31 * DAY, "current_period_end": NOW - HOUR}
        await ann.tell("stripe", **late)
        assert await ann.rows() == {"manual": ("active", None), "stripe": ("cancelled", "active")}
        assert await to_be_ended() == []
        await ann.tell("manual", current_period_end=NOW + 60 * DAY, tier_id=3, as_of=NOW + HOUR)
        assert await to_be_ended() == [2]

    async def test_one_that_entitles_no_longer_gives_way(self, ann: Subscriber):
        period = {"current_period_start": NOW - 40 * DAY, "current_period_end": NOW - DAY}
        await ann.tell("ios", tier_id=3, **period)
        await ann.tell("stripe")
        assert await ann.rows() == {"ios": ("cancelled", "active"), "stripe": ("active", None)}
        assert await ann.tier() == (2, False)

    async def test_cancelling_what_is_superseded_leaves_the_other(self, ann: Subscriber):
        await ann.tell("stripe")
        await ann.tell("ios", tier_id=3)
        applied = await ann.tell("stripe", status="cancelled", as_of=NOW + HOUR)
        assert await ann.rows() == {"stripe": ("cancelled", None), "ios": ("active", None)}
        assert [row.provider for row in applied.ended] == ["stripe"]

    async def test_one_event_may_tell_of_two(self, ann: Subscriber):
        await ann.tell("android", provider_subscription_id=f"old:{ann.id}")
        await ann.tell("android", "msg_1", provider_subscription_id=f"new:{ann.id}", tier_id=3)
        applied = await ann.tell(
            "android",
            "msg_1",
            provider_subscription_id=f"old:{ann.id}",
            status="expired",
            as_of=NOW + HOUR,
        )
        assert applied.outcome == "applied"
        assert await ann.tier() == (3, True)

    async def test_two_providers_at_once_leave_one_entitling_row(
        self, subscriber: Callable[[], Any]
    ):
        for _ in range(5):
            ann: Subscriber = await subscriber()
            async with trio.open_nursery() as nursery:
                for provider in ("stripe", "ios", "android", "manual"):
                    nursery.start_soon(ann.tell, provider)
            rows = await ann.rows()
            assert sorted(status for status, _ in rows.values()) == ["active"] + 3 * ["cancelled"]
            assert await ann.tier() == (2, False)


class TestWhatIsRejected:
    async def test_user_elses_subscription(self, subscriber: Callable[[], Any]):
        ann, bob = await subscriber(), await subscriber()
        await ann.tell(provider_subscription_id=f"sub_{ann.id}")
        with pytest.raises(SubscriptionBelongsToAnother):
            await bob.tell(provider_subscription_id=f"sub_{ann.id}")
        assert await bob.rows() == {}
        assert bob.received == []

    async def test_nobody(self, ann: Subscriber):
        with pytest.raises(UnknownSubscriber):
            await ann.tell(user_id=uuid4())

    async def test_a_period_that_ends_before_it_starts(self, ann: Subscriber):
        await ann.tell()
        with pytest.raises(ConstraintViolation):
            await ann.tell(current_period_end=NOW - 2 * DAY, as_of=NOW + HOUR)
        assert await ann.rows() == {"stripe": ("active", None)}
        assert len(ann.received) == 1

    async def test_what_the_caller_undoes_is_not_received(self, ann: Subscriber):
        async def undone() -> None:
            async with ann.ledger.database.transaction() as tx:
                event = SourceEvent("stripe")
                applied = await ann.ledger.apply_in(tx, ann.change(), source_event=event)
                assert applied.outcome == "applied"
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await undone()
        assert (await ann.rows(), ann.received) == ({}, [])


# Events in any order, and repeated ones, have the same result.

Kind = Literal["stripe", "ios", "android"]

STATES = st.builds(
    lambda provider, hour, status, tier, end, renews: {
        "provider": provider,
        "as_of": NOW + hour * HOUR,
        "status": status,
        "tier_id": tier,
        "current_period_start": NOW - 40 * DAY,
        "current_period_end": NOW + end * DAY,
        "cancel_at_period_end": not renews,
    },
    st.sampled_from(["stripe", "ios", "android"]),
    st.integers(0, 4),
    st.sampled_from(["incomplete", "trialing", "active", "past_due", "cancelled", "expired"]),
    st.sampled_from([2, 3]),
    st.sampled_from([-8, -1, 30, 60]),
    st.booleans(),
)


@st.composite
def tellings(draw: st.DrawFn) -> tuple[list[Any], list[Any]]:
    """The same states in two orders, some of them twice."""
    states = draw(st.lists(STATES, min_size=1, max_size=7))
    repeated = states + draw(st.lists(st.sampled_from(states), max_size=3))
    return states, draw(st.permutations(repeated))


def rows_after(received: list[Any]) -> dict[str, Subscription]:
    """The rules by themselves, as the ledger runs them."""
    user, rows = UUID(int=1), dict[str, Subscription]()
    for state in received:
        change = SubscriptionChange(
            user_id=user, provider_subscription_id=state["provider"], **state
        )
        row = rows.get(change.provider)
        if row is not None and is_stale(change, row):
            continue
        new = Subscription(
            id=UUID(int=len(change.provider)),
            superseded_status=None,
            last_verified_at=None,
            canceled_at=None,
            provider_customer_id=None,
            product_id=None,
            created_at=NOW,
            updated_at=NOW,
            user_id=user,
            provider_subscription_id=change.provider,
            **state,
        )
        rows[change.provider] = change.onto(row or new)
        rows = {row.provider: row for row in elect(list(rows.values()), NOW)}
    return rows


@given(tellings())
def test_the_rules_come_to_the_same_in_any_order(received: tuple[list[Any], list[Any]]):
    in_order, shuffled = received
    rows = rows_after(in_order)
    assert rows == rows_after(shuffled)
    live = [row for row in rows.values() if row.status in LIVE]
    assert len(live) == any(row.provider_status in LIVE for row in rows.values())
    for provider, row in rows.items():
        newest = max(state["as_of"] for state in in_order if state["provider"] == provider)
        assert row.as_of == newest


async def test_the_ledger_comes_to_the_same_in_any_order(
    subscriber: Callable[[], Any], database: Database
):
    """What the rules promise, of the rows themselves."""

    async def rows(states: list[Any]) -> list[Any]:
        ann: Subscriber = await subscriber()
        for state in states:
            await ann.tell(**state)
        return await ann._all(
            "select provider, tier_id, status, superseded_status, current_period_end,"
            " cancel_at_period_end, as_of, user_tier_id(user_id) as tier"
            " from user_subscriptions where user_id = %(id)s order by provider"
        )

    samples: list[tuple[list[Any], list[Any]]] = []

    @settings(max_examples=12, derandomize=True, database=None)
    @given(tellings())
    def collect(received: tuple[list[Any], list[Any]]) -> None:
        samples.append(received)

    collect()
    for in_order, shuffled in samples:
        assert await rows(in_order) == await rows(shuffled), in_order


def test_states_of_one_moment_are_ordered():
    received = SubscriptionChange(
        user_id=uuid4(),
        provider="stripe",
        provider_subscription_id="sub_1",
        tier_id=2,
        status="active",
        current_period_start=NOW,
        current_period_end=NOW + DAY,
        as_of=NOW,
    )
    row = rows_after(
        [{"provider": "stripe", "as_of": NOW, "status": "active", "tier_id": 2,
          "current_period_start": NOW, "current_period_end": NOW + DAY,
          "cancel_at_period_end": False}]
    )["stripe"]  # fmt: skip
    assert not is_stale(received, row)
    assert is_stale(evolve(received, status="trialing"), row)
    assert not is_stale(evolve(received, status="cancelled"), row)
    assert not is_stale(evolve(received, status="trialing", current_period_end=NOW + 2 * DAY), row)
