"""Paying creators: reserve, then transfer, and never twice (§6.5).

    reserved (pending) → Stripe is asked (processing) → transferred (processing, with its id)
                                                      → paid by the bank (completed)
                       → refused (failed): the money is the creator's again

Between the reservation and the answer anything may happen: the answer is lost, the process dies.
The payout stays `processing` then, its money reserved, and `resolve` finds out: it looks for the
transfer at Stripe by the group that names the payout, and asks for it again only if there is none,
with the same idempotency key. Within the 24 hours that Stripe remembers a key, a repeat is the
first answer; after them, a transfer that was made is in the list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID, uuid4

import structlog
import trio
from attrs import field, frozen

from cookcam.database import Transaction
from cookcam.errors import AppError, Conflict, ServiceError, ServiceUnavailable
from cookcam.features.creators.models import Balance, Payout
from cookcam.features.creators.money import dollars
from cookcam.features.creators.payout_store import PayoutRows, PayoutStore
from cookcam.features.subscriptions.stripe_handlers import AfterCommit, Write
from cookcam.providers.stripe import KeyReused, NoSuchObject, Stripe, StripeRefused
from cookcam.providers.stripe.accounts import Payout as BankPayout
from cookcam.providers.stripe.accounts import Transfer
from cookcam.providers.stripe.events import Event
from cookcam.providers.stripe.reading import MalformedObject
from cookcam.realtime.hub import Hub

PAYOUT_ID: Final = "payout_id"
SETTLED_AFTER: Final = timedelta(minutes=2)
"""A request that asks Stripe for a transfer is over by then, whatever became of it."""
EVERY: Final = 60.0
BATCH: Final = 100
CANNOT_RECEIVE: Final = "insufficient_capabilities_for_transfer"
PAYDAY: Final = 4  # Friday

log = structlog.get_logger(__name__)


@frozen
class Payouts:
    """`stripe` is None where no payments are configured."""

    store: PayoutStore
    stripe: Stripe | None
    hub: Hub = field(repr=False)
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
        """A page, newest first, and how many there are in all."""
        return await self.store.history(creator_id, limit, offset)

    async def request(self, creator_id: UUID, cents: int, key: str | None = None) -> Payout:
        """Pays out a part of the balance; the payout as it is afterwards.

        A repeated `key` of the same creator is the same payout. Where it is not known what became
        of the transfer, it is `processing` and `resolve` finds out. Raises ValidationError for an
        amount under the minimum or over the balance; Conflict when the account cannot be paid;
        ServiceError when Stripe refuses (the payout is `failed` then); ServiceUnavailable without
        payments.
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
        except StripeRefused as refusal:
            words = "Stripe account not ready"
            if isinstance(refusal, NoSuchObject) or refusal.stripe_code == CANNOT_RECEIVE:
                raise Conflict(words, error=words) from refusal
            raise ServiceError(error="Failed to request payout") from refusal
        except AppError as error:
            log.warning("transfer is not known to be made", payout=str(payout.id), code=error.code)
            return payout

    async def _transfer(self, stripe: Stripe, payout: Payout) -> Payout:
        """Raises what Stripe does; after a refusal the payout is `failed`."""
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
                idempotency_key=_name(payout),
                transfer_group=_name(payout),
            )
        except KeyReused:
            raise
        except StripeRefused as refusal:
            await self.store.fail(payout.id, refusal.stripe_code or "Stripe refused the transfer")
            raise
        return await self.store.sent(payout, transfer.id, transfer.created)

    # What is not known

    async def run(self) -> None:
        """Background task: resolves every minute. Raises ServiceUnavailable in an outage."""
        while True:
            await trio.sleep(EVERY)
            await self.resolve()

    async def resolve(self) -> int:
        """Finds out what became of transfers that nobody knows of; how many are settled now.

        May be cancelled, and run by several instances, at any moment.
        """
        stripe, settled = self.stripe, 0
        if stripe is None:
            return settled
        before, after = self.now() - SETTLED_AFTER, datetime.min.replace(tzinfo=self.now().tzinfo)
        while payouts := await self.store.unsettled(before=before, after=after, limit=BATCH):
            for payout in payouts:
                settled += await self._resolve(stripe, payout)
            if len(payouts) < BATCH:
                break
            after = payouts[-1].requested_at
        return settled

    async def _resolve(self, stripe: Stripe, payout: Payout) -> bool:
        """One that cannot be resolved does not keep the others waiting: it comes again."""
        try:
            made = await stripe.list_transfers(transfer_group=_name(payout), limit=1)
            if made.unreadable:
                raise MalformedObject  # it may be the transfer
            if made.items:
                found = made.items[0]
                now = await self.store.sent(payout, found.id, found.created)
            else:
                now = await self._transfer(stripe, payout)
        except StripeRefused as refusal:
            if isinstance(refusal, KeyReused):
                log.error("transfer cannot be found out", payout=str(payout.id))
            return not isinstance(refusal, KeyReused)
        except AppError as error:
            log.warning("transfer is still unknown", payout=str(payout.id), code=error.code)
            return False
        return not now.is_unsettled

    # What Stripe tells

    async def transfer_made(self, event: Event) -> Write | None:
        """`transfer.created`, and what is left of it as `transfer.reversed` tells."""
        return self._of_transfer(event)

    async def transfer_reversed(self, event: Event) -> Write | None:
        """`transfer.reversed`: the money is ours again, and owed to the creator."""
        return self._of_transfer(event)

    def _of_transfer(self, event: Event) -> Write | None:
        transfer = Transfer.of(event.object)
        payout_id = _payout_id(transfer)
        if payout_id is None:
            return None

        async def write(tx: Transaction) -> None:
            rows, account_id = PayoutRows(tx), transfer.account_id or ""
            if transfer.reversed:
                await rows.taken_back(
                    payout_id, transfer.id, account_id=account_id, cents=transfer.amount_cents
                )
                return
            await rows.sent(
                payout_id,
                transfer.id,
                account_id=account_id,
                cents=transfer.amount_cents,
                at=transfer.created,
            )
            if transfer.amount_reversed_cents:
                log.error("a part of a transfer was reversed", payout=str(payout_id))
                cents = transfer.amount_reversed_cents
                await rows.note(transfer.id, f"{cents / 100:.2f} of the transfer were reversed")

        return write

    async def bank_paid(self, event: Event) -> Write | None:
        """`payout.paid` of a creator's account."""
        account_id, payout = event.account, BankPayout.of(event.object)
        if account_id is None:
            return None

        async def write(tx: Transaction) -> None:
            await PayoutRows(tx).paid(
                account_id, payout.id, made_at=payout.created, at=event.created
            )

        return write

    async def bank_failed(self, event: Event) -> Write | None:
        """`payout.failed` of a creator's account: the money waits there for a better bank, and the
        creator hears of it."""
        account_id, payout = event.account, BankPayout.of(event.object)
        if account_id is None:
            return None

        async def write(tx: Transaction) -> AfterCommit:
            notes = payout.failure_message or "The bank refused the payout"
            log.warning("a bank refused a payout", account=account_id)
            unpaid = await PayoutRows(tx).not_paid(
                account_id, payout.id, made_at=payout.created, notes=notes[:500]
            )
            return partial(self._tell_of, unpaid)

        return write

    def _tell_of(self, unpaid: Sequence[Payout]) -> None:
        for payout in unpaid:
            if payout.creator_id is None:
                continue
            self.hub.send_to_user(
                payout.creator_id,
                "user_notification",
                {
                    "type": "payout_failed",
                    "data": {
                        "payout_id": payout.id,
                        "amount": dollars(payout.amount_cents),
                        "reason": payout.notes,
                    },
                    "timestamp": self.now(),
                },
            )


def _name(payout: Payout) -> str:
    """The idempotency key and the group of a payout's transfer."""
    return f"payout:{payout.id}"


def _payout_id(transfer: Transfer) -> UUID | None:
    try:
        return UUID(transfer.metadata.get(PAYOUT_ID, ""))
    except ValueError:
        return None
