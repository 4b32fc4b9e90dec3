"""Tips: paid through Stripe, and booked for the creator when the payment has succeeded."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import structlog
from attrs import field, frozen

from cookcam.database import Transaction
from cookcam.errors import ServiceError, ServiceUnavailable, ValidationError
from cookcam.features.billing.stripe.billing_lease import require_open
from cookcam.features.creators.ledger import CreatorLedger
from cookcam.features.creators.models import CURRENCY, Tip
from cookcam.features.creators.tips.store import TipRows, TipStore
from cookcam.features.literals import rejected_field
from cookcam.features.recipes.catalogue.service import Recipes
from cookcam.identity import Identity
from cookcam.integrations.stripe import CardDeclined, KeyReused, Stripe, StripeRejected
from cookcam.integrations.stripe.charges import PaymentIntent
from cookcam.integrations.stripe.events import Event

MIN_TIP_CENTS: Final = 50
MAX_TIP_CENTS: Final = 50_000
MAX_MESSAGE_LENGTH: Final = 500

TIP_ID: Final = "tip_id"
"""The metadata key with the tip's id in a Stripe payment."""

log = structlog.get_logger(__name__)


@frozen
class StartedTip:
    """A pending tip. The app completes its payment with the client secret."""

    tip: Tip
    client_secret: str = field(repr=False)


@frozen
class Tips:
    """`stripe` is None when payments are not configured."""

    store: TipStore
    recipes: Recipes
    stripe: Stripe | None

    async def start(
        self,
        tipper: Identity,
        recipe_id: UUID,
        cents: int,
        *,
        creator_id: UUID | None = None,
        message: str | None = None,
        is_anonymous: bool = False,
    ) -> StartedTip:
        """Creates a pending tip for the owner of a recipe, and its payment.

        Raises ServiceUnavailable when payments are not configured, AccountClosed, NotFound for a
        recipe that the tipper may not see, and ValidationError for an invalid amount, message or
        creator.
        """
        if self.stripe is None:
            raise ServiceUnavailable("Payments are not configured")
        _check(cents, message)
        await require_open(self.store.database, tipper.user_id)
        recipe = await self.recipes.require(tipper, recipe_id)
        owner = recipe.created_by
        if owner is None or owner == tipper.user_id or creator_id not in (None, owner):
            raise rejected_field("Invalid creator", "creatorId")
        tip = await self.store.add(
            recipe_id=recipe_id,
            creator_id=owner,
            tipper_id=tipper.user_id,
            cents=cents,
            message=message,
            is_anonymous=is_anonymous,
        )
        intent = await self._payment(self.stripe, tip)
        await self.store.set_payment(tip.id, intent.id)
        if intent.client_secret is None:
            raise ServiceError(error="Failed to send tip")
        return StartedTip(tip, intent.client_secret)

    async def _payment(self, stripe: Stripe, tip: Tip) -> PaymentIntent:
        try:
            return await stripe.create_payment_intent(
                amount_cents=tip.amount_cents,
                metadata={
                    TIP_ID: str(tip.id),
                    "creator_id": str(tip.creator_id),
                    "recipe_id": str(tip.recipe_id),
                    "platform": "cookcam",
                },
                idempotency_key=f"tip:{tip.id}",
            )
        except (StripeRejected, CardDeclined) as rejection:
            if not isinstance(rejection, KeyReused):
                await self.store.fail(tip.id)
            raise ServiceError(error="Failed to send tip") from rejection

    # Webhook events

    async def succeeded(self, tx: Transaction, event: Event) -> None:
        """`payment_intent.succeeded`: books the tip."""
        intent, tip_id = _parse_tip_payment(event)
        if tip_id is None or intent.status != "succeeded":
            return
        await CreatorLedger(tx).lock_payment(intent.id)
        rows = TipRows(tx)
        tip = await rows.lock(tip_id)
        if tip is None or tip.stripe_payment_intent_id not in (None, intent.id):
            log.error("payment of an unknown tip", payment=intent.id)
        elif intent.currency != CURRENCY or intent.amount_received_cents <= 0:
            log.error("tip in another currency", payment=intent.id, currency=intent.currency)
        else:
            await rows.complete(tip, intent.id, intent.amount_received_cents, event.created)

    async def cancelled(self, tx: Transaction, event: Event) -> None:
        """`payment_intent.canceled`: the tip has failed."""
        _, tip_id = _parse_tip_payment(event)
        if tip_id is not None:
            await TipRows(tx).fail(tip_id)


def _parse_tip_payment(event: Event) -> tuple[PaymentIntent, UUID | None]:
    """The payment and its tip's id; None as id for a payment that is not for a tip."""
    intent = PaymentIntent.of(event.object)
    try:
        return intent, UUID(intent.metadata.get(TIP_ID, ""))
    except ValueError:
        return intent, None


def _check(cents: int, message: str | None) -> None:
    if cents < MIN_TIP_CENTS:
        raise rejected_field("Minimum tip amount is $0.50", "amount")
    if cents > MAX_TIP_CENTS:
        raise rejected_field("Maximum tip amount is $500", "amount")
    if message is not None and len(message) > MAX_MESSAGE_LENGTH:
        raise ValidationError.of("message", f"must have at most {MAX_MESSAGE_LENGTH} characters")
