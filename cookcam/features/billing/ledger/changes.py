"""Reported states of subscriptions and their effects: pure rules, without a clock or a table.

A user's rows are a function of the newest state of each of the user's subscriptions, in whatever
order and number of reports. Two rules ensure it: `is_stale`, a total order on the states of one
subscription, and `elect`, which selects the current one of several live subscriptions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from attrs import evolve, frozen

from cookcam.features.billing.tiers.models import LIVE, Provider, Status, Subscription

Source = Literal["server", "stripe", "app_store", "google_play", "reconciliation", "admin"]
Action = Literal[
    "created",
    "renewed",
    "upgraded",
    "downgraded",
    "scheduled_cancel",
    "cancelled",
    "expired",
    "reactivated",
    "past_due",
    "refunded",
    "reconciled",
]

STAGES: Final[Mapping[Status, int]] = {
    "incomplete": 0,
    "trialing": 1,
    "active": 2,
    "past_due": 3,
    "cancelled": 4,
    "expired": 5,
}
"""The stages of a subscription: of two states with the same time, the later stage is stored."""


@frozen
class SourceEvent:
    """Where a change comes from. `ref` is the provider's id of the event, if any."""

    source: Source
    ref: str | None = None


@frozen
class SubscriptionChange:
    """The whole state of one subscription, as its provider reports it.

    `as_of` is the provider's own time of this state: when the event was created, or when the object
    was read (take the time before the request was sent). `refunded` only affects the history.
    """

    user_id: UUID
    provider: Provider
    provider_subscription_id: str
    tier_id: int
    status: Status
    current_period_start: datetime
    current_period_end: datetime
    as_of: datetime
    cancel_at_period_end: bool = False
    canceled_at: datetime | None = None
    provider_customer_id: str | None = None
    product_id: str | None = None
    refunded: bool = False
    grace_until: datetime | None = None

    @classmethod
    def of(
        cls, subscription: Subscription, *, as_of: datetime, **changes: Any
    ) -> SubscriptionChange:
        """The stored state with `changes`: for events that carry a part of the state.

        Raises ValueError for a manual row without an id of its own.
        """
        if subscription.provider_subscription_id is None:
            raise ValueError("a subscription without its provider's id cannot be changed")
        state = cls(
            user_id=subscription.user_id,
            provider=subscription.provider,
            provider_subscription_id=subscription.provider_subscription_id,
            tier_id=subscription.tier_id,
            status=subscription.provider_status,
            current_period_start=subscription.current_period_start,
            current_period_end=subscription.current_period_end,
            as_of=as_of,
            cancel_at_period_end=subscription.cancel_at_period_end,
            canceled_at=subscription.canceled_at,
            provider_customer_id=subscription.provider_customer_id,
            product_id=subscription.product_id,
            grace_until=subscription.grace_until,
        )
        return evolve(state, **changes)

    def onto(self, subscription: Subscription) -> Subscription:
        """The row as the provider reports it; `elect` decides which row is live.

        The end of the grace period stays when the provider stops reporting it, because it is over.
        """
        same_period = self.current_period_end == subscription.current_period_end
        overdue = self.status == subscription.provider_status == "past_due" and same_period
        grace_until = self.grace_until or (subscription.grace_until if overdue else None)
        return evolve(
            subscription,
            tier_id=self.tier_id,
            status=self.status,
            superseded_status=None,
            current_period_start=self.current_period_start,
            current_period_end=self.current_period_end,
            cancel_at_period_end=self.cancel_at_period_end,
            canceled_at=self.canceled_at,
            provider_customer_id=self.provider_customer_id,
            product_id=self.product_id,
            as_of=self.as_of,
            grace_until=grace_until,
        )


def is_stale(change: SubscriptionChange, stored: Subscription) -> bool:
    """Whether the stored state is newer. Of two with the same time, the later stage is newer."""
    return _age(change.onto(stored)) < _age(stored)


def _age(state: Subscription) -> tuple[Any, ...]:
    return (
        state.as_of,
        state.current_period_end,
        STAGES[state.provider_status],
        state.current_period_start,
        state.cancel_at_period_end,
        state.canceled_at is not None,
        state.canceled_at or state.as_of,
        state.tier_id,
        state.product_id or "",
        state.provider_customer_id or "",
        state.grace_until or state.as_of,
    )


def elect(rows: Sequence[Subscription], now: datetime) -> list[Subscription]:
    """The rows, of which the current one is live and the other live ones are superseded.

    It is the one that entitles now, to the highest tier; of one tier what is paid for goes before
    what was given, as the one that is superseded ends at its provider; then for the longest.
    """
    reported = [evolve(row, status=row.provider_status, superseded_status=None) for row in rows]
    live = [row for row in reported if row.status in LIVE]
    best = max(live, key=lambda row: _rank(row, now), default=None)
    return [_superseded(row) if row in live and row is not best else row for row in reported]


def _rank(row: Subscription, now: datetime) -> tuple[Any, ...]:
    return (
        row.entitles(now),
        row.tier_id,
        row.provider != "manual",
        row.current_period_end,
        row.provider,
        row.provider_subscription_id or "",
    )


def _superseded(row: Subscription) -> Subscription:
    return evolve(row, status="cancelled", superseded_status=row.status)


def action_of(before: Subscription | None, after: Subscription) -> Action:
    """The action in the history for a changed row."""
    if before is None:
        ended: dict[Status, Action] = {"cancelled": "cancelled", "expired": "expired"}
        return ended.get(after.provider_status, "created")
    if before.status != after.status:
        return _status_action(before.status, after.status)
    if before.tier_id != after.tier_id:
        return "upgraded" if after.tier_id > before.tier_id else "downgraded"
    if before.cancel_at_period_end != after.cancel_at_period_end:
        return "scheduled_cancel" if after.cancel_at_period_end else "reactivated"
    return "renewed" if after.current_period_end > before.current_period_end else "reconciled"


def _status_action(before: Status, after: Status) -> Action:
    match after:
        case "cancelled" | "expired" | "past_due":
            return after
        case "active" | "trialing" if before in ("cancelled", "expired"):
            return "reactivated"
        case "active" | "trialing":
            return "renewed"
        case "incomplete":
            return "reconciled"


def public_part(row: Subscription | None) -> tuple[Any, ...]:
    """The fields of a row whose change is recorded in the history."""
    if row is None:
        return ()
    return (
        row.tier_id,
        row.status,
        row.superseded_status,
        row.current_period_start,
        row.current_period_end,
        row.cancel_at_period_end,
        row.canceled_at,
        row.product_id,
        row.provider_customer_id,
        row.grace_until,
    )


def entitling(rows: Iterable[Subscription], now: datetime) -> Subscription | None:
    """The row that entitles now, if any."""
    return next((row for row in rows if row.status in LIVE and row.entitles(now)), None)
