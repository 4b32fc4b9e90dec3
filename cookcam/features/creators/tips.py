"""Tips: a payment first, and a creator's money only when it is there (§6.6)."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import structlog
from attrs import field, frozen

from cookcam.database import Transaction
from cookcam.errors import ServiceError, ServiceUnavailable, ValidationError
from cookcam.features.creators.books import Books
from cookcam.features.creators.models import CURRENCY, Tip
from cookcam.features.creators.tip_store import TipRows, TipStore
from cookcam.features.literals import refused
from cookcam.features.recipes.service import Recipes
from cookcam.features.subscriptions.billing_lease import require_open
from cookcam.features.subscriptions.stripe_handlers import Write
from cookcam.identity import Identity
from cookcam.providers.stripe import CardDeclined, KeyReused, Stripe, StripeRefused
from cookcam.providers.stripe.charges import PaymentIntent
from cookcam.providers.stripe.events import Event

LEAST_CENTS: Final = 50
MOST_CENTS: Final = 50_000
LONGEST_MESSAGE: Final = 500

TIP_ID: Final = "tip_id"
"""The metadata by which a payment of Stripe names the tip it pays."""

log = structlog.get_logger(__name__)


@frozen
class StartedTip:
    """A tip that its payer completes with the secret, in the app."""

    tip: Tip
    client_secret: str = field(repr=False)


@frozen
class Tips:
    """`stripe` is None where no payments are configured."""

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
        """A pending tip for the owner of a recipe, and the payment that is to pay it.

        Raises ServiceUnavailable without payments, AccountClosed, NotFound for a recipe that is not
        the tipper's to see, ValidationError for an amount, a message or a creator that cannot be.
        """
        if self.stripe is None:
            raise ServiceUnavailable("Payments are not configured")
        _check(cents, message)
        await require_open(self.store.database, tipper.user_id)
        recipe = await self.recipes.require(tipper, recipe_id)
        owner = recipe.created_by
        if owner is None or owner == tipper.user_id or creator_id not in (None, owner):
            raise refused("Invalid creator", "creatorId")
        tip = await self.store.add(
            recipe_id=recipe_id,
            creator_id=owner,
            tipper_id=tipper.user_id,
            cents=cents,
            message=message,
            is_anonymous=is_anonymous,
        )
        intent = await self._payment(self.stripe, tip)
        await self.store.paid_with(tip.id, intent.id)
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
        except (StripeRefused, CardDeclined) as refusal:
            if not isinstance(refusal, KeyReused):
                await self.store.fail(tip.id)
            raise ServiceError(error="Failed to send tip") from refusal

    # What Stripe tells

    async def succeeded(self, event: Event) -> Write | None:
        """`payment_intent.succeeded`: the money of a tip is there."""
        intent, tip_id = _of(event)
        if tip_id is None or intent.status != "succeeded":
            return None

        async def write(tx: Transaction) -> None:
            await Books(tx).take_turn(intent.id)
            rows = TipRows(tx)
            tip = await rows.lock(tip_id)
            if tip is None or tip.stripe_payment_intent_id not in (None, intent.id):
                log.error("payment of an unknown tip", payment=intent.id)
            elif intent.currency != CURRENCY or intent.amount_received_cents <= 0:
                log.error("tip in another currency", payment=intent.id, currency=intent.currency)
            else:
                await rows.receive(tip, intent.id, intent.amount_received_cents, event.created)

        return write

    async def cancelled(self, event: Event) -> Write | None:
        """`payment_intent.canceled`: nobody will pay this tip any more."""
        _, tip_id = _of(event)
        if tip_id is None:
            return None

        async def write(tx: Transaction) -> None:
            await TipRows(tx).fail(tip_id)

        return write


def _of(event: Event) -> tuple[PaymentIntent, UUID | None]:
    """The payment, and the tip it is for; None for the payment of something else."""
    intent = PaymentIntent.of(event.object)
    try:
        return intent, UUID(intent.metadata.get(TIP_ID, ""))
    except ValueError:
        return intent, None


def _check(cents: int, message: str | None) -> None:
    if cents < LEAST_CENTS:
        raise refused("Minimum tip amount is $0.50", "amount")
    if cents > MOST_CENTS:
        raise refused("Maximum tip amount is $500", "amount")
    if message is not None and len(message) > LONGEST_MESSAGE:
        raise ValidationError.of("message", f"must have at most {LONGEST_MESSAGE} characters")
