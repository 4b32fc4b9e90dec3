"""Changes, cancellations and refreshes of subscriptions: at the provider first, then here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

import structlog
from attrs import frozen

from cookcam.errors import BadRequest, Conflict, NotFound, PaymentError, ServiceUnavailable
from cookcam.features.billing.commissions import Commissions
from cookcam.features.billing.errors import UPGRADE_URL, UnknownToStripe
from cookcam.features.billing.ledger.changes import SourceEvent, SubscriptionChange
from cookcam.features.billing.ledger.ledger import SubscriptionLedger
from cookcam.features.billing.stripe.billing_lease import BillingLeases
from cookcam.features.billing.stripe.sync import TICK, StripeSync, find_tier_item
from cookcam.features.billing.tiers.models import (
    CREATOR,
    FREE,
    Entitlement,
    Provider,
    Subscription,
    Tier,
)
from cookcam.features.billing.tiers.service import Entitlements
from cookcam.integrations.stripe import NoSuchObject
from cookcam.integrations.stripe.billing import Subscription as StripeSubscription

Refresh: TypeAlias = Callable[[UUID], Awaitable[None]]
"""Reads a user's subscriptions from one provider and applies them to the ledger."""

SERVER = SourceEvent("server")

log = structlog.get_logger(__name__)


@frozen
class Cancellation:
    """A subscription that was cancelled. `at_once`: it has ended; else it ends with its period.

    `managed_by` is the app store of the subscription: the store continues to charge until the
    user, and only the user, cancels it there.
    """

    at_once: bool
    managed_by: Provider | None = None


@frozen
class Plans:
    """`stripe` is None where payments are not configured; `refreshes` has all providers."""

    stripe: StripeSync | None
    entitlements: Entitlements
    ledger: SubscriptionLedger
    commissions: Commissions
    refreshes: Sequence[Refresh]
    leases: BillingLeases
    now: Callable[[], datetime]

    async def change_tier(self, user_id: UUID, tier_id: int) -> Subscription:
        """Moves a subscription to another tier: up at once, down at the end of the period.

        Changes of one user are serialised. Raises AccountClosed, BillingBusy, and
        what `_change_tier` raises.
        """
        async with self.leases.of(user_id):
            return await self._change_tier(user_id, tier_id)

    async def cancel(self, user_id: UUID, *, at_once: bool = False) -> Cancellation:
        """Raises NotFound when nothing is active, UnknownToStripe, AccountClosed, BillingBusy, and
        what Stripe raises."""
        async with self.leases.of(user_id):
            return await self._cancel(user_id, at_once=at_once)

    async def _change_tier(self, user_id: UUID, tier_id: int) -> Subscription:
        """`change_tier`, for a caller that holds the lease.

        A change to Free is a cancellation; one to the current tier withdraws a cancellation. Raises
        BadRequest for an unknown tier, PaymentError without a subscription to change or for a
        declined card, Conflict for one of an app store, UnknownToStripe, NotFound for Free without
        any, and what Stripe raises.
        """
        contents = await self.entitlements.catalogue.contents()
        tier = next((tier for tier in contents.tiers if tier.id == tier_id), None)
        if tier is None or not tier.is_active:
            raise BadRequest("There is no such tier", error="Invalid tier")
        row = await self.entitlements.subscription_of(user_id)
        if row is not None and row.provider in ("ios", "android"):
            raise Conflict("Change it in the app store", error="Managed by app store")
        if tier.id == FREE:
            await self._cancel(user_id)
        elif row is None or row.provider == "manual":
            raise payment_required()
        elif row.tier_id == tier.id:
            await self._keep(row)
        else:
            await self._move(row, tier)
        changed = await self.entitlements.subscription_of(user_id)
        if changed is None:
            raise NotFound("No active subscription found", error="No active subscription found")
        return changed

    async def _cancel(self, user_id: UUID, *, at_once: bool = False) -> Cancellation:
        row = await self.entitlements.subscription_of(user_id)
        if row is None:
            raise NotFound("No active subscription found", error="No active subscription found")
        if row.provider in ("ios", "android"):
            await self._write(row, cancel_at_period_end=True, canceled_at=self.now())
            return Cancellation(False, row.provider)
        if row.provider == "manual":
            await self._cancel_grant(row, at_once)
            return Cancellation(at_once)
        sync, subscription_id = self._sync(), row.provider_subscription_id or ""
        with _reports_unknown(row):
            if at_once:
                changed = await sync.stripe.cancel_subscription_now(subscription_id)
            else:
                changed = await sync.stripe.set_cancel_at_period_end(
                    subscription_id, True, idempotency_key=_key("cancel", row)
                )
        await self._store(sync, changed, row)
        return Cancellation(at_once)

    async def refresh(self, user_id: UUID) -> Entitlement:
        """Reads the user's subscriptions from all providers. Raises what they raise."""
        for refresh in self.refreshes:
            await refresh(user_id)
        return await self.entitlements.status_of(user_id)

    async def upgraded_to_creator(self, user_id: UUID) -> Entitlement:
        """The entitlement of a user who has bought the creator tier. Raises PaymentError for
        others."""
        entitlement = await self.entitlements.status_of(user_id)
        if entitlement.tier.id != CREATOR:
            raise payment_required("creator")
        return entitlement

    async def _move(self, row: Subscription, tier: Tier) -> None:
        sync, subscription_id = self._sync(), row.provider_subscription_id or ""
        with _reports_unknown(row):
            current = await sync.stripe.retrieve_subscription(subscription_id)
        contents = await self.entitlements.catalogue.contents()
        tier_item = find_tier_item(current, contents, row)
        item = current.items[0] if tier_item is None else tier_item.item
        interval = item.price.interval or "month"
        yearly = interval == "year"
        changed = await sync.stripe.change_subscription(
            subscription_id,
            item.id,
            tier_id=tier.id,
            tier_name=tier.name,
            amount_cents=tier.price_yearly_cents if yearly else tier.price_monthly_cents,
            interval=interval,
            currency=tier.currency.lower(),
            when="now" if tier.id > row.tier_id else "period_end",
            idempotency_key=_key(f"change:{tier.id}", row),
        )
        await self._store(sync, changed, row)

    async def _keep(self, row: Subscription) -> None:
        """Withdraws a cancellation, or a scheduled change."""
        sync = self._sync()
        with _reports_unknown(row):
            changed = await sync.stripe.set_cancel_at_period_end(
                row.provider_subscription_id or "", False, idempotency_key=_key("keep", row)
            )
        await self._store(sync, changed, row)

    async def _store(
        self, sync: StripeSync, changed: StripeSubscription, row: Subscription
    ) -> None:
        await sync.store_snapshot(await sync.from_response(changed, row), SERVER)

    async def _cancel_grant(self, row: Subscription, at_once: bool) -> None:
        if at_once:
            await self._write(row, status="cancelled", canceled_at=self.now())
        else:
            await self._write(row, cancel_at_period_end=True, canceled_at=self.now())

    async def _write(self, row: Subscription, **changed: object) -> None:
        """A change that needs no request to a provider."""
        as_of = max(self.now(), row.as_of + TICK)
        change = SubscriptionChange.of(row, as_of=as_of, **changed)
        async with self.ledger.database.transaction() as tx:
            applied = await self.ledger.apply_in(tx, change, source_event=SERVER)
            if applied.ended:
                await self.commissions.on_ended(tx, applied.ended)
        self.ledger.announce(applied)

    def _sync(self) -> StripeSync:
        if self.stripe is None:
            raise ServiceUnavailable("Payments are not configured")
        return self.stripe


@frozen
class StripeRefresh:
    """Reads all subscriptions of a user at Stripe, also those without an event."""

    sync: StripeSync

    async def __call__(self, user_id: UUID) -> None:
        customer_id = await self.sync.store.customer_of(user_id)
        if customer_id is None:
            return
        requested_at = self.sync.now()
        try:
            page = await self.sync.stripe.list_subscriptions(customer_id=customer_id)
        except NoSuchObject:
            # Stripe cannot be read; the stored state is kept.
            log.warning("customer unknown to Stripe")
            return
        for subscription in page.items:
            row = await self.sync.find(subscription.id)
            snapshot = await self.sync.from_list(subscription, requested_at, user_id)
            if row is None or snapshot.as_of > row.as_of:
                await self.sync.store_snapshot(snapshot, SourceEvent("reconciliation"))


@contextmanager
def _reports_unknown(row: Subscription) -> Generator[None]:
    """Raises UnknownToStripe for an object that Stripe does not have.

    The row is not changed: the configured key may be that of another account.
    """
    try:
        yield
    except NoSuchObject:
        log.warning("subscription unknown to Stripe", subscription=row.provider_subscription_id)
        raise UnknownToStripe() from None


def payment_required(tier: str | None = None) -> PaymentError:
    url = UPGRADE_URL if tier is None else f"{UPGRADE_URL}?tier={tier}"
    return PaymentError(
        "Subscribe to get this tier", error="Payment required", extra={"upgradeUrl": url}
    )


def _key(action: str, row: Subscription) -> str:
    """The idempotency key: the same for a repeated request until the row changes."""
    return f"{action}:{row.id}:{row.as_of.timestamp()}"
