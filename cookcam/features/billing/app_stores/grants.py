"""Binds purchases to users and applies them to the ledger, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from uuid import UUID

from attrs import field, frozen

from cookcam.database import Transaction
from cookcam.features.billing.app_stores.models import SOURCES, Purchase, ReturnedMoney, hash_of
from cookcam.features.billing.app_stores.store import PurchaseStore
from cookcam.features.billing.commissions import Commissions, MoneyBack, Receipt
from cookcam.features.billing.errors import ReceiptBelongsToAnother
from cookcam.features.billing.ledger.changes import SourceEvent, SubscriptionChange
from cookcam.features.billing.ledger.ledger import Applied, SubscriptionLedger
from cookcam.features.billing.ledger.reversals import ReversalStore
from cookcam.features.billing.tiers.models import LIVE, Subscription, entitles
from cookcam.features.billing.tiers.store import SubscriptionStore


@frozen
class GrantResult:
    """The written changes; call `PurchaseGrants.announce` after the commit."""

    user_id: UUID
    applied: Sequence[Applied] = field(factory=list[Applied])

    def entitles(self, at: datetime) -> bool:
        """Whether the purchase entitles, even if a better subscription is the live one."""
        rows = [one.subscription for one in self.applied[:1]]
        return any(
            entitles(row.provider_status, row.current_period_end, at, row.grace_until)
            for row in rows
        )


@frozen
class PurchaseGrants:
    """`superseded` is called when a subscription must be cancelled at Stripe."""

    store: PurchaseStore
    subscriptions: SubscriptionStore
    ledger: SubscriptionLedger
    commissions: Commissions
    reversals: ReversalStore
    superseded: Callable[[], None]

    async def bind(self, tx: Transaction, purchase: Purchase, caller: UUID) -> None:
        """Binds a purchase to the caller. Raises ReceiptBelongsToAnother when it is bound to, was
        bought for, or replaces a purchase of another user.
        """
        named = await self._named(tx, purchase)
        if named not in (None, caller):
            raise ReceiptBelongsToAnother.here()
        if (await self.store.bind(tx, purchase, caller)).user_id != caller:
            raise ReceiptBelongsToAnother.here()

    async def owner_of(self, tx: Transaction, purchase: Purchase) -> UUID | None:
        """The owner, found from the store's data alone, and bound. None if unknown."""
        binding = await self.store.binding_in(tx, purchase.product.platform, purchase.store_key)
        if binding is not None:
            return binding.user_id
        named = await self._named(tx, purchase)
        if named is None:
            return None
        return (await self.store.bind(tx, purchase, named)).user_id

    async def is_of_closed_account(self, tx: Transaction, purchase: Purchase) -> bool:
        """Whether the account of the purchase, bound or sent by the app, was deleted."""
        platform, key = purchase.product.platform, purchase.store_key
        binding = await self.store.binding_in(tx, platform, key)
        if binding is not None:
            return binding.user_id is None
        account = purchase.account
        return account is not None and not await self.store.is_user(tx, account)

    async def record_charge(self, tx: Transaction, purchase: Purchase) -> None:
        """A period was charged without a known owner: the charge of a deleted account is recorded,
        and reversed by a background task."""
        if purchase.status in LIVE and await self.is_of_closed_account(tx, purchase):
            await self.reversals.record(
                tx, purchase.product.platform, purchase.subscription_id, "closed_account"
            )

    async def apply(
        self, tx: Transaction, purchase: Purchase, user_id: UUID, ref: str | None
    ) -> GrantResult:
        """Applies the purchase to the ledger. `ref` is the id of the store's notification."""
        if purchase.status is None:  # not paid yet
            return GrantResult(user_id)
        event = SourceEvent(SOURCES[purchase.product.platform], ref)
        change = purchase.change(user_id, purchase.status)
        applied = [await self.ledger.apply_in(tx, change, source_event=event)]
        if purchase.linked is not None:
            applied += await self._replace(tx, purchase, purchase.linked, user_id, event)
        if purchase.environment == "production":
            for one in applied:
                if one.subscription.provider_status == "active":
                    await self.commissions.on_first_paid(tx, one.subscription)
                await self.commissions.on_ended(tx, one.ended)
            await self.book(tx, purchase, applied[0].subscription)
        if not purchase.acknowledged and purchase.status in LIVE:
            await self.store.request_acknowledgement(tx, purchase.store_key)
        return GrantResult(user_id, applied)

    async def book_refunds(self, tx: Transaction, returned: Iterable[ReturnedMoney]) -> None:
        """Books refunds, whether or not the purchase has an owner."""
        for back in returned:
            await self.commissions.on_refund(
                tx,
                MoneyBack(
                    ref=back.ref.replace(":", ":refund:", 1),
                    receipt_ref=back.ref,
                    payment_id=None,
                    paid_cents=back.paid_cents,
                    back_cents=back.back_cents,
                    currency=back.currency.lower(),
                    at=back.at,
                ),
            )

    async def book(self, tx: Transaction, purchase: Purchase, row: Subscription) -> None:
        """Books payment and refunds, also for an outdated change."""
        if (paid := purchase.paid) is not None:
            receipt = Receipt(paid.ref, row, paid.net_cents, paid.currency.lower(), paid.at)
            await self.commissions.on_invoice_paid(tx, receipt)
        await self.book_refunds(tx, purchase.returned)

    def announce(self, grant_result: GrantResult) -> None:
        for one in grant_result.applied:
            self.ledger.announce(one)
            if any(row.provider == "stripe" for row in one.superseded):
                self.superseded()

    async def _named(self, tx: Transaction, purchase: Purchase) -> UUID | None:
        """The user that the purchase names, or that has its row."""
        platform, subscription_id = purchase.product.platform, purchase.subscription_id
        row = await self.subscriptions.find_in(tx, platform, subscription_id)
        if row is not None:
            return row.user_id
        if purchase.linked is not None:
            older = await self.store.binding_in(tx, "android", hash_of(purchase.linked))
            if older is not None and older.user_id is not None:
                return older.user_id
        if purchase.account is not None and await self.store.is_user(tx, purchase.account):
            return purchase.account
        return None

    async def _replace(
        self,
        tx: Transaction,
        purchase: Purchase,
        older: str,
        user_id: UUID,
        event: SourceEvent,
    ) -> list[Applied]:
        """Google gives an upgraded subscription a new token: the older one has ended."""
        row = await self.subscriptions.find_in(tx, "android", older)
        if row is None or row.user_id != user_id or row.provider_status not in LIVE:
            return []
        over = SubscriptionChange.of(
            row, as_of=purchase.as_of, status="cancelled", canceled_at=purchase.as_of
        )
        return [await self.ledger.apply_in(tx, over, source_event=event)]
