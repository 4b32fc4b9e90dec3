"""Commissions of creators on the payments of users they referred."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog
from attrs import frozen

from cookcam.database import Transaction
from cookcam.features.accounts.referrals.service import NEW_ACCOUNT_PERIOD, Referrals
from cookcam.features.billing.commissions import MoneyBack, Receipt
from cookcam.features.billing.tiers.models import LIVE, Subscription
from cookcam.features.creators.commissions.store import (
    Attribution,
    AttributionStore,
    ConversionStore,
)
from cookcam.features.creators.ledger import CreatorLedger, Earning
from cookcam.features.creators.models import CURRENCY, REFERRALS_PERCENT
from cookcam.features.creators.money import prorate
from cookcam.features.creators.tips.store import TipRows

log = structlog.get_logger(__name__)


@frozen
class CreatorCommissions:
    """Implements `Commissions` of `cookcam.features.billing`; every method is idempotent.

    Each receipt of a referred user earns one commission on the net amount without taxes, for as
    long as the user pays, with any provider. A refund reduces the commission in proportion, also
    when it is reported before the receipt.
    """

    store: AttributionStore
    referrals: Referrals

    async def attribute(self, user_id: UUID, code: str) -> None:
        """Attributes a new account that has not paid yet; later calls change nothing."""
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
        """Stores the conversion of the subscription; returns the user's attribution, if any."""
        conversions = ConversionStore(tx)
        conversions.lock(subscription.user_id)
        attribution = await conversions.attribution(subscription.user_id)
        if attribution is not None:
            await conversions.convert(
                attribution,
                subscriber_id=subscription.user_id,
                subscription_id=subscription.id,
                tier_id=subscription.tier_id,
                live=subscription.provider_status in LIVE,
            )
        return attribution

    async def on_invoice_paid(self, tx: Transaction, receipt: Receipt) -> None:
        cents = prorate(max(0, receipt.net_cents), REFERRALS_PERCENT, 100)
        attribution = await self._converted(tx, receipt.subscription)
        subscriber_id, conversions = receipt.subscription.user_id, ConversionStore(tx)
        if attribution is None or cents == 0:
            return
        if receipt.currency.lower() != CURRENCY:
            log.error("commission in another currency", ref=receipt.ref, currency=receipt.currency)
            return
        ledger = CreatorLedger(tx)
        await ledger.lock_payment(receipt.ref)
        await ledger.record_earning(
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
        await ledger.settle(receipt.ref, receipt.ref)

    async def on_refund(self, tx: Transaction, back: MoneyBack) -> None:
        payment_ref = back.receipt_ref or back.payment_id
        if payment_ref is None or back.paid_cents <= 0:
            log.error("money back of an unknown payment", ref=back.ref)
            return
        ledger = CreatorLedger(tx)
        await ledger.lock_payment(payment_ref)
        await ledger.record_return(
            payment_ref,
            back.ref,
            paid_cents=back.paid_cents,
            back_cents=max(0, back.back_cents),
            currency=back.currency,
            at=back.at,
        )
        if back.receipt_ref is not None:
            await ledger.settle(payment_ref, payment_ref)
        else:
            await TipRows(tx).settle(payment_ref)

    async def on_ended(self, tx: Transaction, ended: Sequence[Subscription]) -> None:
        await ConversionStore(tx).deactivate([row.id for row in ended])
