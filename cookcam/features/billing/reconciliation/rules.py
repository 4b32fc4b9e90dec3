"""When a provider and the table disagree: pure rules.

What counts is what a user gets: tier, status, the end of the period, and whether it renews. Ids
and the beginning of the period come along when one of those is corrected, and are no drift.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from cookcam.features.billing.ledger.changes import SubscriptionChange
from cookcam.features.billing.reconciliation.sources import Told
from cookcam.features.billing.tiers.models import LIVE, Subscription

TICK: Final = timedelta(microseconds=1)

SETTLING: Final = timedelta(minutes=5)
"""A subscription younger than this may be unknown here because its event is still on its way."""


def is_of_interest(told: Told, known: Subscription | None) -> bool:
    """Whether it goes on, there or here; one that ended on both sides does not change any more."""
    if known is None:
        return told.goes_on and told.begun_at <= told.as_of - SETTLING
    return told.goes_on or known.provider_status in LIVE


def is_outdated(told: Told, known: Subscription | None) -> bool:
    """Whether the row may be newer than what was told: then the provider has to be asked again."""
    return known is not None and told.as_of <= known.as_of


def agree(told: Told, known: Subscription) -> bool:
    """Whether the row says what the provider says.

    A period that has run out without the provider saying so was ended here (`expired`), and stays
    so until the provider tells another period.
    """
    ran_out = (
        known.provider_status == "expired"
        and told.status in ("active", "trialing")
        and told.current_period_end <= told.as_of
    )
    return (
        (told.status == known.provider_status or ran_out)
        and told.current_period_end == known.current_period_end
        and told.cancel_at_period_end == known.cancel_at_period_end
        and told.grace_until in (None, known.grace_until)
        and (told.tier_id is None or told.tier_id == known.tier_id)
    )


def after(moment: datetime, known: Subscription | None) -> datetime:
    """The time of a reading that began when `known` was known: newer, whatever the clocks say."""
    return moment if known is None else max(moment, known.as_of + TICK)


def gone(known: Subscription, now: datetime) -> SubscriptionChange:
    """The end of a subscription that its provider does not know any more."""
    return SubscriptionChange.of(
        known,
        as_of=after(now, known),
        status="cancelled",
        cancel_at_period_end=False,
        canceled_at=known.canceled_at or now,
    )


def expired(known: Subscription, began_at: datetime) -> SubscriptionChange:
    """The end of a period that nothing followed.

    As of the beginning of the run, so that a renewal that is told later is newer.
    """
    return SubscriptionChange.of(known, as_of=after(began_at, known), status="expired")
