"""Brings what a provider said into the ledger, one subscription a transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import Final, Literal, TypeAlias
from uuid import UUID

import structlog
from attrs import frozen

from cookcam.database import Transaction
from cookcam.errors import AppError, TransactionConflict
from cookcam.features.billing.commissions import Commissions
from cookcam.features.billing.errors import SubscriptionBelongsToAnother, UnknownSubscriber
from cookcam.features.billing.ledger.changes import SourceEvent, SubscriptionChange
from cookcam.features.billing.ledger.ledger import SubscriptionLedger, SubscriptionUpdated
from cookcam.features.billing.ledger.reversals import ReversalStore
from cookcam.features.billing.ledger.store import LedgerStore
from cookcam.features.billing.reconciliation import rules
from cookcam.features.billing.reconciliation.sources import Gone, Told
from cookcam.features.billing.tiers.models import Subscription, shown_status
from cookcam.features.billing.tiers.store import SubscriptionStore

EVENT: Final = SourceEvent("reconciliation")
ATTEMPTS: Final = 3

Outcome = Literal["corrected", "nothing", "unsolved"]
"""`nothing`: it was in order by then, or something newer is known. `unsolved`: it is nobody's."""

Count: TypeAlias = Callable[[Transaction], Awaitable[None]]
"""Counts the correction in its own transaction, so that it counts once and not if it fails."""


async def uncounted(_tx: Transaction) -> None:
    pass


@frozen
class Corrections:
    """What a correction supersedes is ended at its provider by a task of subscriptions."""

    ledger: SubscriptionLedger
    store: SubscriptionStore
    commissions: Commissions
    now: Callable[[], datetime]

    async def settle(
        self, answer: Told | Gone, known: Subscription | None, count: Count = uncounted
    ) -> Outcome:
        """Makes the table say what the provider said, if it was asked when `known` was known."""
        if isinstance(answer, Gone):
            if known is None:
                return "nothing"
            return await self.apply(rules.gone(known, self.now()), count)
        owner = known.user_id if known is not None else await self._owner(answer)
        tier_id = answer.tier_id or (known.tier_id if known is not None else None)
        if owner is None or tier_id is None:
            _log_unsolved(answer, "of nobody" if owner is None else "of no tier")
            return "unsolved"
        as_of = rules.after(answer.as_of, known)
        try:
            return await self.apply(answer.change(owner, tier_id, as_of=as_of), count)
        except (UnknownSubscriber, SubscriptionBelongsToAnother) as refusal:
            _log_unsolved(answer, refusal.message)
            if isinstance(refusal, UnknownSubscriber) and answer.provider == "stripe":
                await self._reverse(answer.provider_subscription_id)
            return "unsolved"

    async def apply(self, change: SubscriptionChange, count: Count = uncounted) -> Outcome:
        for _ in range(ATTEMPTS - 1):
            with suppress(TransactionConflict):
                return await self._apply(change, count)
        return await self._apply(change, count)

    async def _apply(self, change: SubscriptionChange, count: Count) -> Outcome:
        async with self.ledger.database.transaction() as tx:
            applied = await self.ledger.apply_in(tx, change, source_event=EVENT)
            if applied.ended:
                await self.commissions.on_ended(tx, applied.ended)
            if applied.outcome == "applied":
                await count(tx)
        self.ledger.announce(applied)
        return "corrected" if applied.outcome == "applied" else "nothing"

    async def refresh_profile(self, user_id: UUID) -> None:
        """What others see of a user's tier, and the user's sockets, after time alone changed it."""
        async with self.ledger.database.transaction() as tx:
            ledger = LedgerStore(tx)
            if not await ledger.lock(user_id):
                return
            ledger.mirror(user_id)
            slug = await ledger.tier(user_id)
        live = await self.store.live(user_id)
        entitling = live.status if live is not None and live.entitles(self.now()) else None
        told = SubscriptionUpdated(slug, shown_status(entitling))
        self.ledger.hub.send_to_user(user_id, "subscription_updated", told)

    async def _reverse(self, subscription_id: str) -> None:
        """Stripe charges for a user who does not exist (any more): a task of subscriptions ends
        it and takes the charge back."""
        database = self.ledger.database
        async with database.transaction() as tx:
            store = ReversalStore(database)
            await store.record(tx, "stripe", subscription_id, "closed_account")

    async def _owner(self, told: Told) -> UUID | None:
        if told.user_id is not None or told.provider_customer_id is None:
            return told.user_id
        return await self.store.owner_of(told.provider_customer_id)


def is_outage(error: AppError) -> bool:
    """Whether asking for the next subscription is likely to fail as well."""
    return error.status in (500, 503)


def _log_unsolved(told: Told, why: str) -> None:
    structlog.get_logger("cookcam.reconciliation").warning(
        "subscription cannot be corrected",
        provider=told.provider,
        subscription=told.provider_subscription_id,
        why=why,
    )
