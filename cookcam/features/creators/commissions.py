"""What creators get of the payments of those they brought.

Source: `spec/payments-and-gamification.md` §6.1, §6.3, `spec/database.md` §2.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog
from attrs import frozen

from cookcam.database import Transaction
from cookcam.features.creators.books import Books, Earning
from cookcam.features.creators.commission_store import (
    Attribution,
    AttributionStore,
    ConversionStore,
)
from cookcam.features.creators.models import CURRENCY, REFERRALS_PERCENT
from cookcam.features.creators.money import part
from cookcam.features.creators.tip_store import TipRows
from cookcam.features.referrals.service import NEW_ACCOUNT_PERIOD, Referrals
from cookcam.features.subscriptions.commissions import MoneyBack, Receipt
from cookcam.features.subscriptions.models import LIVE, Subscription

log = structlog.get_logger(__name__)


@frozen
class CreatorCommissions:
    """`Commissions` of `cookcam.features.subscriptions`: every method means the same twice.

    One commission for each receipt of a user whom a creator brought, for as long as the user pays,
    whatever the provider, on what came in without taxes. Money that goes back takes its share of
    the commission with it, also if it is told before the receipt.
    """

    store: AttributionStore
    referrals: Referrals

    async def attribute(self, user_id: UUID, code: str) -> None:
        """First touch, while the account is new and before anything was paid; else nothing."""
        link = await self.referrals.resolve(code.strip())
        if link is not None:
            await self.store.attribute(
                user_id,
                referrer_id=link.creator_id,
                link_id=link.id,
                code=link.link_code,
                days=NEW_ACCOUNT_PERIOD.days,
            )

    async def on_first_paid(self, tx: Transaction, subscription: Subscription) -> None:
        await self._converted(tx, subscription)

    async def _converted(self, tx: Transaction, subscription: Subscription) -> Attribution | None:
        """Who brought the payer, if somebody did."""
        conversions = ConversionStore(tx)
        conversions.lock(subscription.user_id)
        attribution = await conversions.attribution(subscription.user_id)
        if attribution is not None:
            await conversions.convert(
                attribution,
                subscriber_id=subscription.user_id,
                subscription_id=subscription.id,
                tier_id=subscription.tier_id,
                live=subscription.told in LIVE,
            )
        return attribution

    async def on_invoice_paid(self, tx: Transaction, receipt: Receipt) -> None:
        cents = part(max(0, receipt.net_cents), REFERRALS_PERCENT, 100)
        attribution = await self._converted(tx, receipt.subscription)
        subscriber_id, conversions = receipt.subscription.user_id, ConversionStore(tx)
        if attribution is None or cents == 0:
            return
        if receipt.currency.lower() != CURRENCY:
            log.error("commission in another currency", ref=receipt.ref, currency=receipt.currency)
            return
        books = Books(tx)
        await books.take_turn(receipt.ref)
        await books.earn(
            Earning(
                attribution.referrer_id,
                "commission",
                cents,
                CURRENCY,
                receipt.ref,
                receipt.paid_at,
                conversion_id=await conversions.conversion(
                    attribution.referrer_id, subscriber_id, receipt.subscription.id
                ),
            )
        )
        await books.settle(receipt.ref, receipt.ref)

    async def on_refund(self, tx: Transaction, back: MoneyBack) -> None:
        payment_ref = back.receipt_ref or back.payment_id
        if payment_ref is None or back.paid_cents <= 0:
            log.error("money back of an unknown payment", ref=back.ref)
            return
        books = Books(tx)
        await books.take_turn(payment_ref)
        await books.note_return(
            payment_ref,
            back.ref,
            paid_cents=back.paid_cents,
            back_cents=max(0, back.back_cents),
            currency=back.currency,
            at=back.at,
        )
        if back.receipt_ref is not None:
            await books.settle(payment_ref, payment_ref)
        else:
            await TipRows(tx).settle(payment_ref)

    async def on_ended(self, tx: Transaction, ended: Sequence[Subscription]) -> None:
        await ConversionStore(tx).deactivate([row.id for row in ended])
