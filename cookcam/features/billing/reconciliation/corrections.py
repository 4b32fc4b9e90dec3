"""Writes a provider's state into the ledger, one subscription per transaction."""

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
from cookcam.features.billing.reconciliation.sources.models import (
    ProviderSubscription,
    UnknownSubscription,
)
from cookcam.features.billing.tiers.models import Subscription, shown_status
from cookcam.features.billing.tiers.store import SubscriptionStore

EVENT: Final = SourceEvent("reconciliation")
MAX_ATTEMPTS: Final = 3

CorrectionResult = Literal["corrected", "unchanged", "unresolved"]
"""`unchanged`: the row agrees or is newer. `unresolved`: it has no user or no tier of ours."""

CountCorrection: TypeAlias = Callable[[Transaction], Awaitable[None]]
"""Counts the correction in its own transaction: exactly once, and not if it fails."""


async def do_not_count(_tx: Transaction) -> None:
    pass


@frozen
class Corrections:
    """Subscriptions that a correction supersedes are cancelled at their provider by the background
    task of `billing/stripe`."""

    ledger: SubscriptionLedger
    store: SubscriptionStore
    commissions: Commissions
    now: Callable[[], datetime]

    async def correct(
        self,
        reported: ProviderSubscription | UnknownSubscription,
        stored: Subscription | None,
        count: CountCorrection = do_not_count,
    ) -> CorrectionResult:
        """Stores the provider's state, which must have been read after `stored`."""
        if isinstance(reported, UnknownSubscription):
            if stored is None:
                return "unchanged"
            return await self.apply(rules.cancel_unknown(stored, self.now()), count)
        user_id = stored.user_id if stored is not None else await self._find_user(reported)
        tier_id = reported.tier_id or (stored.tier_id if stored is not None else None)
        if user_id is None or tier_id is None:
            _log_unresolved(reported, "of no user" if user_id is None else "of no tier")
            return "unresolved"
        as_of = rules.later_than_stored(reported.as_of, stored)
        try:
            return await self.apply(reported.change(user_id, tier_id, as_of=as_of), count)
        except (UnknownSubscriber, SubscriptionBelongsToAnother) as rejection:
            _log_unresolved(reported, rejection.message)
            if isinstance(rejection, UnknownSubscriber) and reported.provider == "stripe":
                await self._reverse_charge(reported.provider_subscription_id)
            return "unresolved"

    async def apply(
        self, change: SubscriptionChange, count: CountCorrection = do_not_count
    ) -> CorrectionResult:
        for _ in range(MAX_ATTEMPTS - 1):
            with suppress(TransactionConflict):
                return await self._apply(change, count)
        return await self._apply(change, count)

    async def _apply(self, change: SubscriptionChange, count: CountCorrection) -> CorrectionResult:
        async with self.ledger.database.transaction() as tx:
            applied = await self.ledger.apply_in(tx, change, source_event=EVENT)
            if applied.ended:
                await self.commissions.on_ended(tx, applied.ended)
            if applied.outcome == "applied":
                await count(tx)
        self.ledger.announce(applied)
        return "corrected" if applied.outcome == "applied" else "unchanged"

    async def refresh_profile(self, user_id: UUID) -> None:
        """Updates a user's profile after the tier changed by time alone; notifies the user."""
        async with self.ledger.database.transaction() as tx:
            ledger = LedgerStore(tx)
            if not await ledger.lock(user_id):
                return
            ledger.mirror(user_id)
            slug = await ledger.tier(user_id)
        live = await self.store.live(user_id)
        entitling = live.status if live is not None and live.entitles(self.now()) else None
        event = SubscriptionUpdated(slug, shown_status(entitling))
        self.ledger.notifier.send_to_user(user_id, "subscription_updated", event)

    async def _reverse_charge(self, subscription_id: str) -> None:
        """Records a subscription of a deleted user, which is then cancelled and refunded at
        Stripe."""
        database = self.ledger.database
        async with database.transaction() as tx:
            store = ReversalStore(database)
            await store.record(tx, "stripe", subscription_id, "closed_account")

    async def _find_user(self, reported: ProviderSubscription) -> UUID | None:
        if reported.user_id is not None or reported.provider_customer_id is None:
            return reported.user_id
        return await self.store.owner_of(reported.provider_customer_id)


def is_outage(error: AppError) -> bool:
    """Whether the next request to the provider is likely to fail as well."""
    return error.status in (500, 503)


def _log_unresolved(reported: ProviderSubscription, why: str) -> None:
    structlog.get_logger("cookcam.reconciliation").warning(
        "subscription cannot be corrected",
        provider=reported.provider,
        subscription=reported.provider_subscription_id,
        why=why,
    )
