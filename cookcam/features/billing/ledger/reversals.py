"""Reversals of charges: of deleted accounts, and of a second purchase of one tier.

A subscription whose provider charges for a user who does not exist is recorded in the transaction
that handles the provider's event. A background task then cancels it at the provider and refunds
the latest payment. The table is the queue, so a crash or an outage delays a reversal but loses
none; each step may be repeated.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, LiteralString, Protocol
from uuid import UUID

import structlog
from attrs import field, frozen

from cookcam.database import SERVICE, Database, Transaction
from cookcam.errors import AppError
from cookcam.features.billing.tiers.models import Provider, product_of
from cookcam.integrations.google_play import GooglePlay
from cookcam.integrations.google_play.client import UnknownPurchase
from cookcam.integrations.stripe import NoSuchObject, Stripe
from cookcam.integrations.stripe.billing import Subscription as StripeSubscription
from cookcam.integrations.stripe.reading import uuid_of
from cookcam.lifecycle.background import Bell

Reason = Literal["closed_account", "second_purchase"]
Outcome = Literal["refunded", "cancelled", "had_ended", "unknown", "not_possible"]
"""`cancelled`: nothing had been paid. `had_ended`: it had ended already, so nothing is refunded.
`unknown`: the provider has no such subscription. `not_possible`: Apple lets only the customer, or
its own support, refund."""

POLL_INTERVAL: Final = 60.0
BATCH: Final = 50
DAILY_LIMIT: Final = 100
"""Maximum reversals in 24 hours. More suggest that the subscriptions belong to another database,
for instance because a backup was restored: reversals stop until the number is lower, and an error
is logged."""

# Repeated for a later event of the same subscription, because of a possible new payment.
RECORD: LiteralString = """
insert into public.charge_reversals as r (provider, provider_subscription_id, reason)
values (%(provider)s, %(subscription_id)s, %(reason)s)
on conflict (provider, provider_subscription_id) do update set
  status = 'pending', settled_at = null, attempts = 0, next_attempt_at = now()"""

REOPEN: LiteralString = """
update public.charge_reversals set
  status = 'pending', settled_at = null, attempts = 0, next_attempt_at = now()
where provider = %(provider)s and provider_subscription_id = %(subscription_id)s
  and status = 'settled' and ending"""

EXISTS: LiteralString = """
select exists (
  select from public.charge_reversals
  where provider = %(provider)s and provider_subscription_id = %(subscription_id)s
)"""

# Claimed by postponing them: if the worker is killed, they become due again.
CLAIM: LiteralString = """
update public.charge_reversals set
  attempts = attempts + 1,
  next_attempt_at = now() + interval '1 minute' * least(power(2, attempts), 60)
where (provider, provider_subscription_id) in (
  select provider, provider_subscription_id from public.charge_reversals
  where status = 'pending' and provider = any(%(providers)s) and next_attempt_at <= now()
  order by next_attempt_at limit %(limit)s
  for update skip locked
)
returning provider, provider_subscription_id, reason, ending"""

ENDED_TODAY: LiteralString = """
select count(*) from public.charge_reversals
where noticed_at > now() - interval '1 day' and ending"""

ENDING: LiteralString = """
update public.charge_reversals set ending = true
where provider = %(provider)s and provider_subscription_id = %(subscription_id)s"""

SETTLE: LiteralString = """
update public.charge_reversals set
  status = 'settled', settled_at = now(), outcome = %(outcome)s
where provider = %(provider)s and provider_subscription_id = %(subscription_id)s"""

OVER: Final = ("EXPIRED", "PENDING_PURCHASE_CANCELED")
"""States of a purchase at Google that does not continue."""

log = structlog.get_logger(__name__)


@frozen
class ChargeReversal:
    """A claimed row. `ending`: an attempt has requested its end from the provider."""

    provider: Provider
    provider_subscription_id: str = field(repr=False)
    reason: Reason
    ending: bool


class ClosedAccountCharged(Exception):
    """A provider charged for a deleted account: for the error report."""


class ReversalObserver(Protocol):
    """Counts reversals, and reports those of deleted accounts."""

    def charge_reversed(self, provider: str, reason: str, outcome: str) -> None: ...

    def closed_account_charged(self, error: Exception) -> None: ...


class ReversalProvider(Protocol):
    """A provider that ends and refunds subscriptions."""

    async def reverse(self, reversal: ChargeReversal, store: ReversalStore) -> Outcome:
        """Raises AppError if it must be retried. Calls `store.ending` before it ends the
        subscription."""
        ...


@frozen
class ReversalStore:
    database: Database = field(repr=False)

    async def record(
        self, tx: Transaction, provider: Provider, subscription_id: str, reason: Reason
    ) -> None:
        await tx.execute(RECORD, provider=provider, subscription_id=subscription_id, reason=reason)

    async def reopen(self, tx: Transaction, provider: Provider, subscription_id: str) -> None:
        """Makes a settled reversal pending again: a payment may have arrived since."""
        await tx.execute(REOPEN, provider=provider, subscription_id=subscription_id)

    async def exists(self, provider: Provider, subscription_id: str) -> bool:
        return await self.database.fetch_value_as(
            SERVICE, EXISTS, provider=provider, subscription_id=subscription_id
        )

    async def claim(self, providers: Sequence[str], limit: int) -> list[ChargeReversal]:
        async with self.database.transaction() as tx:
            return await tx.fetch_all(ChargeReversal, CLAIM, providers=list(providers), limit=limit)

    async def ended_today(self) -> int:
        """How many reversals of the last 24 hours have ended a subscription."""
        return await self.database.fetch_value_as(SERVICE, ENDED_TODAY)

    async def ending(self, reversal: ChargeReversal) -> None:
        await self._write(ENDING, reversal)

    async def settle(self, reversal: ChargeReversal, outcome: Outcome) -> None:
        await self._write(SETTLE, reversal, outcome=outcome)

    async def _write(
        self, statement: LiteralString, reversal: ChargeReversal, **params: object
    ) -> None:
        async with self.database.transaction() as tx:
            await tx.execute(
                statement,
                provider=reversal.provider,
                subscription_id=reversal.provider_subscription_id,
                **params,
            )


@frozen
class ChargeReversals:
    store: ReversalStore
    providers: Mapping[str, ReversalProvider]
    observer: ReversalObserver
    _bell: Bell = field(factory=Bell, init=False)

    def wake(self) -> None:
        """Wakes the task after a reversal was recorded."""
        self._bell.ring()

    async def run(self) -> None:
        """Background task. Raises ServiceUnavailable while the database is unavailable."""
        while True:
            await self.sweep()
            await self._bell.wait(POLL_INTERVAL)

    async def sweep(self) -> int:
        """Reverses at most `BATCH` due charges; returns the number of settled ones."""
        if await self.store.ended_today() >= DAILY_LIMIT:
            log.error("too many charges to reverse; is this the right database?")
            return 0
        settled = 0
        for reversal in await self.store.claim(list(self.providers), BATCH):
            try:
                outcome = await self.providers[reversal.provider].reverse(reversal, self.store)
            except AppError as error:
                log.error(
                    "charge could not be reversed yet",
                    provider=reversal.provider,
                    reason=reversal.reason,
                    code=error.code,
                )
                continue
            await self.store.settle(reversal, outcome)
            self._report(reversal, outcome)
            settled += 1
        return settled

    def _report(self, reversal: ChargeReversal, outcome: Outcome) -> None:
        self.observer.charge_reversed(reversal.provider, reversal.reason, outcome)
        fields = {"provider": reversal.provider, "outcome": outcome}
        if reversal.reason == "second_purchase":
            log.warning("second purchase of a tier reversed", **fields)
        elif outcome in ("had_ended", "unknown"):
            log.info("subscription of a closed account had ended", **fields)
        else:
            log.error("closed account was charged", **fields)
            self.observer.closed_account_charged(
                ClosedAccountCharged(f"{reversal.provider}: {outcome}")
            )


DeletionTime = Callable[[UUID], Awaitable[datetime | None]]
"""When a user requested the deletion of the account; None if nothing is on record."""


@frozen
class StripeReversals:
    """Cancels a subscription at once and refunds all payments of its latest invoice, and of every
    other invoice since the deletion of its account: several months may have been charged before
    the first event of the subscription arrived."""

    stripe: Stripe
    deleted_at: DeletionTime

    async def reverse(self, reversal: ChargeReversal, store: ReversalStore) -> Outcome:
        stripe, subscription_id = self.stripe, reversal.provider_subscription_id
        try:
            subscription = await stripe.retrieve_subscription(subscription_id)
        except NoSuchObject:
            return "unknown"
        if not subscription.is_over:
            await store.ending(reversal)
            subscription = await stripe.cancel_subscription_now(subscription_id)
        elif not reversal.ending:
            return "had_ended"
        payments = [
            payment
            for invoice_id in await self._invoices(subscription, reversal)
            for payment in await stripe.payments_of_invoice(invoice_id)
        ]
        for payment_id in payments:
            await stripe.refund_payment(payment_id, idempotency_key=f"reversal:{payment_id}")
        return "refunded" if payments else "cancelled"

    async def _invoices(
        self, subscription: StripeSubscription, reversal: ChargeReversal
    ) -> Collection[str]:
        latest = subscription.latest_invoice_id
        invoices = {} if latest is None else {latest: None}
        user_id = uuid_of(subscription.metadata.get("user_id"))
        if reversal.reason == "closed_account" and user_id is not None:
            since = await self.deleted_at(user_id)
            if since is not None:
                invoices |= dict.fromkeys(
                    await self.stripe.paid_invoices(subscription.id, since=since)
                )
        return invoices


@frozen
class GoogleReversals:
    google_play: GooglePlay

    async def reverse(self, reversal: ChargeReversal, store: ReversalStore) -> Outcome:
        token = reversal.provider_subscription_id
        try:
            subscription = await self.google_play.subscription(
                token, lambda product: product_of("android", product) is not None
            )
        except UnknownPurchase:
            return "unknown"
        if subscription.state in OVER:
            return "refunded" if reversal.ending else "had_ended"
        await store.ending(reversal)
        await self.google_play.revoke(token)
        return "refunded"


@frozen
class AppleReversals:
    async def reverse(self, reversal: ChargeReversal, store: ReversalStore) -> Outcome:
        return "not_possible"
