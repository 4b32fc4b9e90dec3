"""What is asked of a provider: one subscription, and a list of all where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from attrs import frozen

from cookcam.features.billing.ledger.changes import SubscriptionChange
from cookcam.features.billing.tiers.models import LIVE, Provider, Status, Subscription


@frozen
class Told:
    """A subscription as its provider tells it, in our words.

    `user_id` and `tier_id` are None where the provider does not tell them. `as_of` is the
    provider's time of this state, not later than the reading; `begun_at` is when the subscription
    was made.
    """

    provider: Provider
    provider_subscription_id: str
    status: Status
    current_period_start: datetime
    current_period_end: datetime
    as_of: datetime
    begun_at: datetime
    user_id: UUID | None = None
    tier_id: int | None = None
    cancel_at_period_end: bool = False
    canceled_at: datetime | None = None
    provider_customer_id: str | None = None
    product_id: str | None = None
    grace_until: datetime | None = None

    @property
    def goes_on(self) -> bool:
        return self.status in LIVE

    def change(self, user_id: UUID, tier_id: int, *, as_of: datetime) -> SubscriptionChange:
        return SubscriptionChange(
            user_id=user_id,
            provider=self.provider,
            provider_subscription_id=self.provider_subscription_id,
            tier_id=tier_id,
            status=self.status,
            current_period_start=self.current_period_start,
            current_period_end=self.current_period_end,
            as_of=as_of,
            cancel_at_period_end=self.cancel_at_period_end,
            canceled_at=self.canceled_at,
            provider_customer_id=self.provider_customer_id,
            product_id=self.product_id,
            grace_until=self.grace_until,
        )


@frozen
class Gone:
    """The provider does not know the subscription."""


@frozen
class Listing:
    """A page of a list. `next_after` asks for the next; None: it was the last.

    `unreadable` is how many of its rows could not be read: they are logged, and not in `items`.
    """

    items: Sequence[Told]
    next_after: str | None
    unreadable: int = 0


class UnknownCursor(Exception):
    """The list has no such place, or no longer."""


class Source(Protocol):
    """A provider. What it cannot answer raises an AppError: ServiceUnavailable when it is away."""

    @property
    def provider(self) -> Provider: ...

    @property
    def lists(self) -> bool:
        """Whether `page` is there: else every subscription is looked at by itself."""
        ...

    async def page(self, after: str | None) -> Listing:
        """A page of all subscriptions, in an order to which new ones are added before the first.

        Raises UnknownCursor.
        """
        ...

    async def look(self, known: Subscription) -> Told | Gone:
        """One subscription as it is now."""
        ...

    async def of_user(self, user_id: UUID) -> Sequence[Told]:
        """Those of a user that the provider knows without being told which; none if it cannot."""
        ...
