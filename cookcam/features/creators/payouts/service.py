"""Payouts to creators: reserve the amount, then transfer it exactly once.

    reserved (pending) → transfer requested (processing) → transferred (processing, transfer id)
                                                         → paid by the bank (completed)
                       → rejected (failed): the amount is in the balance again

If the process crashes or the response is lost, the payout stays `processing` with its amount
reserved. `resolve` then looks for the transfer at Stripe by the payout's transfer group, and
requests it again only if there is none, with the same idempotency key. Stripe keeps a key for 24
hours, in which a repetition returns the first response; later, a transfer that was made is listed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

import structlog
from attrs import field, frozen

from cookcam.database import Transaction
from cookcam.errors import AppError, Conflict, ServiceError, ServiceUnavailable
from cookcam.features.creators.models import Balance, Payout
from cookcam.features.creators.money import dollars
from cookcam.features.creators.payouts.store import PayoutRows, PayoutStore
from cookcam.features.messaging.notifications.messages import Notification, payout_failed
from cookcam.integrations.stripe import KeyReused, NoSuchObject, Stripe, StripeRejected
from cookcam.integrations.stripe.accounts import Payout as BankPayout
from cookcam.integrations.stripe.accounts import Transfer
from cookcam.integrations.stripe.events import Event
from cookcam.integrations.stripe.reading import MalformedObject
from cookcam.lifecycle.background import run_periodically

PAYOUT_ID: Final = "payout_id"
RESOLVE_AFTER: Final = timedelta(minutes=2)
"""Longer than a request for a transfer can take, so `resolve` does not interfere with it."""
RESOLVE_INTERVAL: Final = 60.0
BATCH: Final = 100
CANNOT_RECEIVE: Final = "insufficient_capabilities_for_transfer"
PAYDAY: Final = 4  # Friday

log = structlog.get_logger(__name__)


@frozen
class Payouts:
    """`stripe` is None when payments are not configured."""

    store: PayoutStore
    stripe: Stripe | None
    now: Callable[[], datetime] = field(repr=False)

    async def balance(self, creator_id: UUID) -> Balance:
        return await self.store.balance(creator_id)

    def next_payday(self) -> datetime:
        """The next Friday after today, at this time of day."""
        now = self.now()
        return now + timedelta(days=(PAYDAY - now.weekday() - 1) % 7 + 1)

    async def history(
        self, creator_id: UUID, limit: int, offset: int
    ) -> tuple[Sequence[Payout], int]:
        """A page of payouts, newest first, and their total number."""
        return await self.store.history(creator_id, limit, offset)

    async def request(self, creator_id: UUID, cents: int, key: str | None = None) -> Payout:
        """Pays out a part of the balance; returns the payout.

        A repeated `key` of the same creator returns the same payout. While the result of the
        transfer is unknown, the payout is `processing`, until `resolve` settles it. Raises
        ValidationError for an amount below the minimum or above the balance; Conflict when the
        account cannot be paid; ServiceError when Stripe rejects the transfer (the payout is then
        `failed`); ServiceUnavailable when payments are not configured.
        """
        if self.stripe is None:
            raise ServiceUnavailable("Payments are not configured")
        payout = await self.store.reserve(creator_id, cents, f"{creator_id}:{key or uuid4()}")
        if not payout.is_unsettled:
            return payout
        try:
            return await self._transfer(self.stripe, payout)
        except KeyReused:
            return payout
        except StripeRejected as rejection:
            message = "Stripe account not ready"
            if isinstance(rejection, NoSuchObject) or rejection.stripe_code == CANNOT_RECEIVE:
                raise Conflict(message, error=message) from rejection
            raise ServiceError(error="Failed to request payout") from rejection
        except AppError as error:
            log.warning("transfer result unknown", payout=str(payout.id), code=error.code)
            return payout

    async def _transfer(self, stripe: Stripe, payout: Payout) -> Payout:
        """Requests the transfer. After a rejection the payout is `failed`, and the error raised."""
        try:
            transfer = await stripe.create_transfer(
                account_id=payout.stripe_account_id or "",
                amount_cents=payout.amount_cents,
                currency=payout.currency,
                metadata={
                    "creator_id": str(payout.creator_id),
                    PAYOUT_ID: str(payout.id),
                    "platform": "cookcam",
                },
                idempotency_key=_transfer_key(payout),
                transfer_group=_transfer_key(payout),
            )
        except KeyReused:
            raise
        except StripeRejected as rejection:
            await self.store.fail(payout.id, rejection.stripe_code or "Stripe refused the transfer")
            raise
        return await self.store.mark_sent(payout, transfer.id, transfer.created)

    # Payouts with an unknown result

    async def run(self) -> None:
        """Background task. Raises ServiceUnavailable during a database outage."""
        await run_periodically(self.resolve, RESOLVE_INTERVAL, spread=(0.9, 1.1))

    async def resolve(self) -> int:
        """Settles payouts whose transfer has an unknown result; returns how many.

        Safe to cancel, and to run on several instances at once.
        """
        stripe, settled = self.stripe, 0
        if stripe is None:
            return settled
        before, after = self.now() - RESOLVE_AFTER, datetime.min.replace(tzinfo=self.now().tzinfo)
        while payouts := await self.store.unsettled(before=before, after=after, limit=BATCH):
            for payout in payouts:
                settled += await self._resolve(stripe, payout)
            if len(payouts) < BATCH:
                break
            after = payouts[-1].requested_at
        return settled

    async def _resolve(self, stripe: Stripe, payout: Payout) -> bool:
        """Settles one payout; returns False, to be retried later, when its result stays unknown."""
        try:
            transfers = await stripe.list_transfers(transfer_group=_transfer_key(payout), limit=1)
            if transfers.unreadable:
                raise MalformedObject  # the unreadable one may be the payout's
            if transfers.items:
                transfer = transfers.items[0]
                settled = await self.store.mark_sent(payout, transfer.id, transfer.created)
            else:
                settled = await self._transfer(stripe, payout)
        except StripeRejected as rejection:
            if isinstance(rejection, KeyReused):
                log.error("transfer result cannot be determined", payout=str(payout.id))
            return not isinstance(rejection, KeyReused)
        except AppError as error:
            log.warning("transfer result still unknown", payout=str(payout.id), code=error.code)
            return False
        return not settled.is_unsettled

    # Webhook events

    async def apply_transfer(self, tx: Transaction, event: Event) -> None:
        """`transfer.created`: the transfer was made. `transfer.reversed`: the amount is owed to the
        creator again."""
        transfer = Transfer.of(event.object)
        payout_id = _payout_id(transfer)
        if payout_id is None:
            return
        rows, account_id = PayoutRows(tx), transfer.account_id or ""
        if transfer.reversed:
            await rows.mark_reversed(
                payout_id, transfer.id, account_id=account_id, cents=transfer.amount_cents
            )
            return
        await rows.mark_sent(
            payout_id,
            transfer.id,
            account_id=account_id,
            cents=transfer.amount_cents,
            at=transfer.created,
        )
        if transfer.amount_reversed_cents:
            log.error("a part of a transfer was reversed", payout=str(payout_id))
            cents = transfer.amount_reversed_cents
            await rows.set_notes(transfer.id, f"{cents / 100:.2f} of the transfer were reversed")

    async def bank_paid(self, tx: Transaction, event: Event) -> None:
        """`payout.paid` of a creator's account: completes the payouts transferred before it."""
        account_id, payout = event.account, BankPayout.of(event.object)
        if account_id is not None:
            await PayoutRows(tx).mark_paid(
                account_id, payout.id, made_at=payout.created, at=event.created
            )

    async def bank_failed(self, tx: Transaction, event: Event) -> list[Notification]:
        """`payout.failed` of a creator's account: the money stays there until the bank details are
        corrected. Returns the notifications of the creators."""
        account_id, payout = event.account, BankPayout.of(event.object)
        if account_id is None:
            return []
        notes = payout.failure_message or "The bank refused the payout"
        log.warning("a bank refused a payout", account=account_id)
        unpaid = await PayoutRows(tx).mark_unpaid(
            account_id, payout.id, made_at=payout.created, notes=notes[:500]
        )
        return [
            payout_failed(
                each.creator_id,
                {
                    "payout_id": str(each.id),
                    "amount": dollars(each.amount_cents),
                    "reason": each.notes,
                },
                event.id,
                self.now(),
            )
            for each in unpaid
            if each.creator_id is not None
        ]


def _transfer_key(payout: Payout) -> str:
    """The idempotency key and transfer group of a payout's transfer."""
    return f"payout:{payout.id}"


def _payout_id(transfer: Transfer) -> UUID | None:
    try:
        return UUID(transfer.metadata.get(PAYOUT_ID, ""))
    except ValueError:
        return None
