"""When provider and table differ, and the changes that follow: pure rules.

Compared is what a user gets: tier, status, end of the period, and renewal. Ids and the start of the
period are stored with a correction, but are no drift by themselves.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from cookcam.features.billing.ledger.changes import SubscriptionChange
from cookcam.features.billing.reconciliation.sources.models import ProviderSubscription
from cookcam.features.billing.tiers.models import LIVE, Subscription

TICK: Final = timedelta(microseconds=1)

EVENT_GRACE_PERIOD: Final = timedelta(minutes=5)
"""A younger subscription without a row is no drift: its event may not have arrived yet."""


def needs_check(reported: ProviderSubscription, stored: Subscription | None) -> bool:
    """Whether it is live at the provider or here; one that ended on both sides is final."""
    if stored is None:
        return reported.is_live and reported.created_at <= reported.as_of - EVENT_GRACE_PERIOD
    return reported.is_live or stored.provider_status in LIVE


def may_be_outdated(reported: ProviderSubscription, stored: Subscription | None) -> bool:
    """Whether the row may be newer than the report: then the provider is read again."""
    return stored is not None and reported.as_of <= stored.as_of


def agree(reported: ProviderSubscription, stored: Subscription) -> bool:
    """Whether the row has the provider's state.

    A row that reconciliation expired at the end of its period agrees until the provider reports
    another period.
    """
    expired_here = (
        stored.provider_status == "expired"
        and reported.status in ("active", "trialing")
        and reported.current_period_end <= reported.as_of
    )
    return (
        (reported.status == stored.provider_status or expired_here)
        and reported.current_period_end == stored.current_period_end
        and reported.cancel_at_period_end == stored.cancel_at_period_end
        and reported.grace_until in (None, stored.grace_until)
        and (reported.tier_id is None or reported.tier_id == stored.tier_id)
    )


def later_than_stored(moment: datetime, stored: Subscription | None) -> datetime:
    """The `as_of` of a state that was read after `stored`: newer than it, even if clocks differ."""
    return moment if stored is None else max(moment, stored.as_of + TICK)


def cancel_unknown(stored: Subscription, now: datetime) -> SubscriptionChange:
    """Ends a subscription that its provider does not have."""
    return SubscriptionChange.of(
        stored,
        as_of=later_than_stored(now, stored),
        status="cancelled",
        cancel_at_period_end=False,
        canceled_at=stored.canceled_at or now,
    )


def expire(stored: Subscription, began_at: datetime) -> SubscriptionChange:
    """Ends a subscription whose period ended without a renewal.

    As of the start of the run, so that a renewal reported later is newer.
    """
    return SubscriptionChange.of(
        stored, as_of=later_than_stored(began_at, stored), status="expired"
    )
