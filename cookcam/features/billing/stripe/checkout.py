"""Stripe's checkout page, and its portal with a customer's cards and subscriptions.

Stripe's event of a payment may arrive before the response that created the page has been stored or
returned. It needs neither: user and tier are in the metadata of the subscription
(`StripeSync`), and the event is applied on its own. A repeated `begin` then raises
AlreadySubscribed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import structlog
from attrs import frozen

from cookcam.errors import BadRequest, Conflict, InternalError, NotFound, ServiceUnavailable
from cookcam.features.billing.commissions import Commissions
from cookcam.features.billing.errors import UnknownTier
from cookcam.features.billing.ledger.changes import SourceEvent
from cookcam.features.billing.stripe.billing_lease import BillingBusy, BillingLeases, Lease
from cookcam.features.billing.stripe.redirects import Redirects
from cookcam.features.billing.stripe.sync import StripeSync
from cookcam.features.billing.tiers.models import FREE, Interval, Tier
from cookcam.features.billing.tiers.service import Catalogue, Entitlements
from cookcam.features.billing.tiers.store import SubscriptionStore
from cookcam.identity import Identity
from cookcam.integrations.stripe import NoSuchObject, Stripe, StripeRejected
from cookcam.integrations.stripe.billing import CheckoutSession

log = structlog.get_logger(__name__)


class AlreadySubscribed(Conflict):
    """The user has the tier already."""

    default_message = "You already have this subscription"

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.error = "Subscription already active"


@frozen
class CheckoutOrder:
    """The tier to buy, and the redirects after the payment."""

    tier_id: int
    interval: Interval
    success_url: str
    cancel_url: str
    affiliate_code: str | None = None


@frozen
class Checkout:
    """`sync` is None where payments are not configured."""

    sync: StripeSync | None
    leases: BillingLeases
    store: SubscriptionStore
    catalogue: Catalogue
    entitlements: Entitlements
    commissions: Commissions
    redirects: Redirects
    now: Callable[[], datetime]

    async def begin(self, caller: Identity, order: CheckoutOrder) -> str:
        """The address of the checkout page.

        A user has one open page: a repeated order returns it, another order expires it first, so
        that two tabs cannot both be paid.
        Raises BadRequest for a tier that is not sold, AlreadySubscribed, UnknownTier,
        AccountClosed, BillingBusy, InternalError where payments are not configured, and what
        `Stripe` raises.
        """
        tier = await self._tier(order.tier_id)
        sync = self.sync
        if sync is None:
            raise InternalError("Payments are not configured")
        async with self.leases.of(caller.user_id) as lease:
            await self._require_not_subscribed(caller.user_id, tier)
            if order.affiliate_code is not None:
                await self.commissions.attribute(caller.user_id, order.affiliate_code)
            url = await self._open_page(sync, lease, tier, order)
            if url is not None:
                return url
            # The previous page may have been paid meanwhile.
            await self._require_not_subscribed(caller.user_id, tier)
            customer_id = await self.store.customer_of(caller.user_id)
            try:
                session = await self._session(sync.stripe, caller, lease, tier, order, customer_id)
            except StripeRejected as rejected:
                if customer_id is None or not _is_unknown(rejected):
                    raise
                session = await self._session(sync.stripe, caller, lease, tier, order, None)
            if session.url is None:
                raise InternalError("The session has no address")
            order_hash = _hash_of(tier, order)
            if not await self.leases.store_session(
                lease, session.id, order_hash, session.expires_at
            ):
                await sync.stripe.expire_checkout_session(session.id)
                raise BillingBusy()
            return session.url

    async def portal(self, caller: Identity, return_url: str) -> str:
        """The address of the page with the caller's cards, invoices and subscriptions.

        Raises NotFound for a caller without a customer at Stripe;
        ServiceUnavailable where payments are not configured, and what `Stripe` raises.
        """
        if self.sync is None:
            raise ServiceUnavailable("Payments are not configured")
        customer_id = await self.store.customer_of(caller.user_id)
        if customer_id is None:
            raise _no_account()
        try:
            return await self.sync.stripe.create_portal_session(
                customer_id=customer_id, return_url=return_url
            )
        except StripeRejected as rejected:
            if not _is_unknown(rejected):
                raise
        log.warning("customer unknown to Stripe")
        raise _no_account()

    async def _tier(self, tier_id: int) -> Tier:
        tiers = (await self.catalogue.contents()).tiers
        tier = next((tier for tier in tiers if tier.id == tier_id), None)
        if tier is None:
            raise UnknownTier()
        if tier.id == FREE or not tier.is_active:
            raise BadRequest("This tier cannot be bought", error="Tier not available")
        return tier

    async def _require_not_subscribed(self, user_id: UUID, tier: Tier) -> None:
        row = await self.entitlements.subscription_of(user_id)
        same = row is not None and row.provider == "stripe" and row.tier_id == tier.id
        if row is not None and same and row.entitles(self.now()):
            raise AlreadySubscribed()

    async def _open_page(
        self, sync: StripeSync, lease: Lease, tier: Tier, order: CheckoutOrder
    ) -> str | None:
        """The page of the latest session, if it is open and for the same order. Otherwise no
        session is open afterwards, and a paid one is in the ledger.
        """
        if lease.session_id is None or lease.expires_at is None or lease.expires_at <= self.now():
            return None
        try:
            session = await sync.stripe.retrieve_checkout_session(lease.session_id)
            if session.status == "open" and lease.order_hash == _hash_of(tier, order):
                return session.url
            if session.status == "open":
                session = await sync.stripe.expire_checkout_session(session.id)
        except NoSuchObject:
            return None
        if session.status == "complete" and session.subscription_id is not None:
            row = await sync.find(session.subscription_id)
            if row is None:
                snapshot = await sync.read(session.subscription_id, None, lease.user_id)
                await sync.store_snapshot(snapshot, SourceEvent("server"))
        return None

    async def _session(
        self,
        stripe: Stripe,
        caller: Identity,
        lease: Lease,
        tier: Tier,
        order: CheckoutOrder,
        customer_id: str | None,
    ) -> CheckoutSession:
        rest = f"{_hash_of(tier, order)}:{customer_id or ''}:{lease.session_id or ''}"
        return await stripe.create_checkout_session(
            user_id=caller.user_id,
            tier_id=tier.id,
            tier_name=tier.name,
            amount_cents=_cents(tier, order),
            interval=order.interval,
            currency=tier.currency.lower(),
            success_url=order.success_url,
            cancel_url=order.cancel_url,
            customer_id=customer_id,
            email=caller.email,
            # A repeat after a crash returns the same session; after another session it creates a
            # new one.
            idempotency_key=f"checkout:{caller.user_id}:{_digest(rest)}",
        )


def _cents(tier: Tier, order: CheckoutOrder) -> int:
    return tier.price_yearly_cents if order.interval == "year" else tier.price_monthly_cents


def _hash_of(tier: Tier, order: CheckoutOrder) -> str:
    """The hash of tier, price and redirects."""
    parts = [order.interval, order.success_url, order.cancel_url, tier.currency]
    return _digest("\n".join([str(tier.id), str(_cents(tier, order)), *parts]))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _no_account() -> NotFound:
    return NotFound("There are no payments by card", error="No billing account found")


def _is_unknown(rejected: StripeRejected) -> bool:
    """Whether the customer does not exist at Stripe any more."""
    return rejected.param == "customer" or (
        isinstance(rejected, NoSuchObject) and rejected.param in (None, "customer", "id")
    )
