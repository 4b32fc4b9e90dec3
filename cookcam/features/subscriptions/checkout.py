"""Buying by card, and the page on which customers look after it: both are Stripe's own pages."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import structlog
from attrs import frozen

from cookcam.errors import BadRequest, Conflict, InternalError, NotFound, ServiceUnavailable
from cookcam.features.subscriptions.catalogue import Catalogue
from cookcam.features.subscriptions.commissions import Commissions
from cookcam.features.subscriptions.entitlements import Entitlements
from cookcam.features.subscriptions.models import FREE, Tier
from cookcam.features.subscriptions.products import Interval
from cookcam.features.subscriptions.redirects import Redirects
from cookcam.features.subscriptions.refusals import UnknownTier
from cookcam.features.subscriptions.store import SubscriptionStore
from cookcam.identity import Identity
from cookcam.providers.stripe import NoSuchObject, Stripe, StripeRefused

log = structlog.get_logger(__name__)


class AlreadySubscribed(Conflict):
    """The tier is paid for."""

    default_message = "You already have this subscription"

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.error = "Subscription already active"


@frozen
class Wish:
    """What somebody wants to buy, and where to go then."""

    tier_id: int
    interval: Interval
    success_url: str
    cancel_url: str
    affiliate_code: str | None = None


@frozen
class Checkout:
    """`stripe` is None where payments are not configured."""

    stripe: Stripe | None
    store: SubscriptionStore
    catalogue: Catalogue
    entitlements: Entitlements
    commissions: Commissions
    redirects: Redirects
    now: Callable[[], datetime]

    async def begin(self, caller: Identity, wish: Wish) -> str:
        """The address of the page where the caller pays.

        Asked again within a minute it is the same page. Raises BadRequest for a tier that is not
        sold, AlreadySubscribed, UnknownTier, InternalError where payments are not configured, and
        what `Stripe` raises.
        """
        tier = await self._tier(wish.tier_id)
        stripe = self.stripe
        if stripe is None:
            raise InternalError("Payments are not configured")
        await self._refuse_twice(caller.user_id, tier)
        if wish.affiliate_code is not None:
            await self.commissions.attribute(caller.user_id, wish.affiliate_code)
        customer_id = await self.store.customer_of(caller.user_id)
        try:
            return await self._page(stripe, caller, tier, wish, customer_id)
        except StripeRefused as refused:
            if customer_id is None or not _is_gone(refused):
                raise
        return await self._page(stripe, caller, tier, wish, None)

    async def portal(self, caller: Identity, return_url: str) -> str:
        """The address of the page with the caller's cards, invoices and subscriptions.

        Raises NotFound for somebody who never paid by card, or whom Stripe does not know any more;
        ServiceUnavailable where payments are not configured, and what `Stripe` raises.
        """
        if self.stripe is None:
            raise ServiceUnavailable("Payments are not configured")
        customer_id = await self.store.customer_of(caller.user_id)
        if customer_id is None:
            raise _no_account()
        try:
            return await self.stripe.create_portal_session(
                customer_id=customer_id, return_url=return_url
            )
        except StripeRefused as refused:
            if not _is_gone(refused):
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

    async def _refuse_twice(self, user_id: UUID, tier: Tier) -> None:
        row = await self.entitlements.subscription_of(user_id)
        same = row is not None and row.provider == "stripe" and row.tier_id == tier.id
        if row is not None and same and row.entitles(self.now()):
            raise AlreadySubscribed()

    async def _page(
        self, stripe: Stripe, caller: Identity, tier: Tier, wish: Wish, customer_id: str | None
    ) -> str:
        yearly = wish.interval == "year"
        session = await stripe.create_checkout_session(
            user_id=caller.user_id,
            tier_id=tier.id,
            tier_name=tier.name,
            amount_cents=tier.price_yearly_cents if yearly else tier.price_monthly_cents,
            interval=wish.interval,
            currency=tier.currency.lower(),
            success_url=wish.success_url,
            cancel_url=wish.cancel_url,
            customer_id=customer_id,
            email=caller.email,
            idempotency_key=self._key(caller.user_id, wish, customer_id),
        )
        if session.url is None:
            raise InternalError("The session has no address")
        return session.url

    def _key(self, user_id: UUID, wish: Wish, customer_id: str | None) -> str:
        """Of user, tier and minute; and of the rest, as a key stands for one request exactly."""
        rest = [wish.interval, wish.success_url, wish.cancel_url, customer_id or ""]
        digest = hashlib.sha256("\n".join(rest).encode()).hexdigest()[:16]
        minute = int(self.now().timestamp()) // 60
        return f"checkout:{user_id}:{wish.tier_id}:{minute}:{digest}"


def _no_account() -> NotFound:
    return NotFound("There are no payments by card", error="No billing account found")


def _is_gone(refused: StripeRefused) -> bool:
    """Whether Stripe no longer knows the customer."""
    return refused.param == "customer" or (
        isinstance(refused, NoSuchObject) and refused.param in (None, "customer", "id")
    )
