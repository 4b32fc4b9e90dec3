"""The protocol of a provider's subscriptions, and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from attrs import frozen

from cookcam.features.billing.ledger.changes import SubscriptionChange
from cookcam.features.billing.tiers.models import LIVE, Provider, Status, Subscription


@frozen
class ProviderSubscription:
    """The state of a subscription at its provider.

    `user_id` and `tier_id` are None where the provider does not report them. `as_of` is the
    provider's time of this state, not later than the request; `created_at` is when the subscription
    was created.
    """

    provider: Provider
    provider_subscription_id: str
    status: Status
    current_period_start: datetime
    current_period_end: datetime
    as_of: datetime
    created_at: datetime
    user_id: UUID | None = None
    tier_id: int | None = None
    cancel_at_period_end: bool = False
    canceled_at: datetime | None = None
    provider_customer_id: str | None = None
    product_id: str | None = None
    grace_until: datetime | None = None

    @property
    def is_live(self) -> bool:
        return self.status in LIVE

    def change(self, user_id: UUID, tier_id: int, *, as_of: datetime) -> SubscriptionChange:
        """The ledger change that stores this state."""
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
class UnknownSubscription:
    """The provider definitely does not have the subscription, or no longer has it."""


@frozen
class SubscriptionPage:
    """A page of a provider's list. `next_after` is the cursor of the next page, None on the last.

    `unreadable` is the number of rows that could not be parsed; they are logged and left out.
    """

    items: Sequence[ProviderSubscription]
    next_after: str | None
    unreadable: int = 0


class InvalidCursor(Exception):
    """The list does not have this cursor, or no longer has it."""


class SubscriptionSource(Protocol):
    """A provider's subscriptions.

    Methods raise ServiceUnavailable during an outage, and another AppError for other failures.
    """

    @property
    def provider(self) -> Provider: ...

    @property
    def can_list(self) -> bool:
        """Whether the provider has a list; otherwise subscriptions are only fetched one by one."""
        ...

    async def list_page(self, after: str | None) -> SubscriptionPage:
        """A page of all subscriptions, newest first. Raises InvalidCursor."""
        ...

    async def fetch(self, stored: Subscription) -> ProviderSubscription | UnknownSubscription:
        """The current state of one subscription."""
        ...

    async def list_of_user(self, user_id: UUID) -> Sequence[ProviderSubscription]:
        """A user's subscriptions; empty where the provider cannot find them by the user."""
        ...
