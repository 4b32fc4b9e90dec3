"""The webhook inbox: every event is stored first, and applied exactly once.

    received ──► claimed (committed) ──► read ──► applied and marked (one transaction)
                      ▲                    │                │
                      │                    │                └──► after commit
                      └─ sweep, redelivery ◄┴ failed: due after 1, 5, 30 minutes, then hourly

The request that brings an event processes it, so that the response has the outcome: a failed
event gets an error response, and is retried by the provider and by the sweep. An event that cannot
be parsed is a dead letter at once: no retry would change it. A claim
whose worker was killed expires after five minutes. Marking checks the claim: of two workers that
process the same event, only the holder of the claim commits.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final, Generic, Literal, Protocol, TypeVar

import structlog
import trio
from attrs import frozen

from cookcam.database import Transaction
from cookcam.errors import AppError, DeadlineExceeded, ServiceUnavailable, TransactionConflict
from cookcam.features.billing.webhooks.store import (
    MAX_ATTEMPTS,
    Claim,
    ClaimedEvent,
    ClaimLost,
    EventHeader,
    EventResult,
    WebhookEventStore,
    storable,
)
from cookcam.integrations.provider_calls import UnreadableResponse
from cookcam.integrations.stripe.reading import MalformedObject

INTERVAL: Final = 5.0
"""Seconds between two sweeps."""
BATCH: Final = 10
RELEASE_TIMEOUT: Final = 2.0
MAX_READS: Final = 4
"""Maximum reads of one event from its provider, if the stored row changes during each."""

Outcome = Literal["processed", "duplicate", "in_progress", "failed", "unreadable"]
UNREADABLE: Final = (MalformedObject, UnreadableResponse)
"""Errors of parsing an event, or what its provider responds about it. They are permanent."""

log = structlog.get_logger(__name__)

E = TypeVar("E")
P = TypeVar("P")
R = TypeVar("R", bound=EventResult)


class EventProcessor(Protocol[E, P, R]):
    """The processing of a provider's events. `E` is a verified event, `P` the plan of its changes,
    `R` the result of the transaction. Any method but `after_commit` may raise: the event has
    failed."""

    def header(self, event: E) -> EventHeader: ...

    def handles(self, event: E) -> bool:
        """False for types without an effect: they are stored as processed."""
        ...

    async def restore(self, stored: ClaimedEvent) -> E:
        """The event from its stored payload."""
        ...

    async def read(self, event: E) -> P | None:
        """Reads what the event needs from the provider, before the transaction. None: nothing is
        to be changed."""
        ...

    async def read_again(self, event: E, plan: P) -> P:
        """The plan with the provider's current state, after `apply` has returned None."""
        ...

    async def apply(self, tx: Transaction, event: E, plan: P) -> R | None:
        """Writes the changes. None, with nothing written: the order of the plan's state and the
        stored row is unknown, so the provider has to be read again."""
        ...

    async def after_commit(self, result: R) -> None:
        """Notifies users and background tasks. Raises nothing."""
        ...


class InboxObserver(Protocol):
    """Counts events, and reports dead letters."""

    def event_done(self, event_type: str, outcome: str, seconds: float) -> None: ...

    def event_given_up(self, event_type: str, error: Exception) -> None: ...


class EventGivenUp(Exception):
    """An event has failed for the last time and needs an operator."""


@frozen
class Receipt:
    """The outcome of a delivery. `milliseconds` is the time of the work, `error` why it failed."""

    outcome: Outcome
    milliseconds: int = 0
    error: Exception | None = None


@frozen
class WebhookInbox(Generic[E, P, R]):
    """`timeout`: seconds for one event, below the time the provider waits for a response."""

    store: WebhookEventStore
    processor: EventProcessor[E, P, R]
    timeout: float
    observer: InboxObserver | None = None

    async def receive(self, event: E, body: bytes) -> Receipt:
        """Stores and processes a verified event; `body` is its JSON.

        Raises ServiceUnavailable when it could not be stored.
        """
        began, header = trio.current_time(), self.processor.header(event)
        receipt = await self._receive(event, header, storable(body))
        self._count(header.event_type, receipt, began)
        return receipt

    async def receive_unreadable(self, header: EventHeader, error: Exception) -> Receipt:
        """Stores an event of which only the header could be parsed as a dead letter, without its
        payload. Raises ServiceUnavailable when it could not be stored."""
        began = trio.current_time()
        claim = await self.store.claim(header, None)
        if isinstance(claim, Claim):
            await self._fail(claim, error)
        receipt = Receipt("unreadable" if isinstance(claim, Claim) else claim, error=error)
        self._count(header.event_type, receipt, began)
        return receipt

    async def run(self) -> None:
        """Background task: processes due events. Raises ServiceUnavailable without a database."""
        while True:
            await self.sweep()
            await trio.sleep(INTERVAL)

    async def sweep(self) -> int:
        """Processes all events that are due; returns their number."""
        for abandoned in await self.store.abandon():
            self._report_dead_letter(abandoned.claim, None)
        count = 0
        while batch := await self.store.claim_due(BATCH):
            for stored in batch:
                began = trio.current_time()
                receipt = await self._process(stored.claim, stored)
                self._count(stored.event_type, receipt, began)
            count += len(batch)
        return count

    async def _receive(self, event: E, header: EventHeader, payload: str | None) -> Receipt:
        if not self.processor.handles(event):
            return Receipt(await self.store.accept(header, payload) or "processed")
        claim = await self.store.claim(header, payload)
        if not isinstance(claim, Claim):
            return Receipt(claim)
        return await self._process(claim, event)

    async def _process(self, claim: Claim, event: E | ClaimedEvent) -> Receipt:
        began, result = trio.current_time(), None
        try:
            with trio.move_on_after(self.timeout) as scope:
                result = await self._apply(claim, event)
            if scope.cancelled_caught:
                raise DeadlineExceeded()
        except ClaimLost:
            return Receipt("in_progress")
        except Exception as error:
            await self._fail(claim, error)
            is_readable = not isinstance(error, UNREADABLE)
            return Receipt("failed" if is_readable else "unreadable", error=error)
        except trio.Cancelled:
            # The client has disconnected or the process is stopping: the event is due immediately.
            deadline = trio.current_time() + RELEASE_TIMEOUT
            with trio.CancelScope(shield=True, deadline=deadline), suppress(AppError):
                await self.store.mark_failed(claim, "interrupted", immediately=True)
            raise
        if result is not None:
            await self.processor.after_commit(result)
        return Receipt("processed", _milliseconds(began))

    async def _apply(self, claim: Claim, event: E | ClaimedEvent) -> R | None:
        """Reads, applies and marks the event. Raises ClaimLost, TransactionConflict."""
        began = trio.current_time()
        if isinstance(event, ClaimedEvent):
            event = await self.processor.restore(event)
        plan = await self.processor.read(event)
        if plan is None:
            await self.store.mark_ignored(claim, _milliseconds(began))
            return None
        for _ in range(MAX_READS):
            async with self.store.database.transaction() as tx:
                result = await self.processor.apply(tx, event, plan)
                if result is not None:
                    await self.store.mark_done(tx, claim, _milliseconds(began), result)
            if result is not None:
                return result
            plan = await self.processor.read_again(event, plan)
        raise TransactionConflict()

    async def _fail(self, claim: Claim, error: Exception) -> None:
        is_final = isinstance(error, UNREADABLE)
        if isinstance(error, ServiceUnavailable | DeadlineExceeded) and not is_final:
            log.warning("webhook failed", event_id=claim.event_id, code=error.code)
        else:
            log.error("webhook failed", event_id=claim.event_id, exc_info=error)
        reason = error.code if isinstance(error, AppError) else type(error).__name__
        if is_final:
            reason = "unreadable"
        attempts = await self.store.mark_failed(claim, reason, is_final=is_final)
        if attempts is not None and attempts >= MAX_ATTEMPTS:
            self._report_dead_letter(claim, error)

    def _report_dead_letter(self, claim: Claim, error: Exception | None) -> None:
        log.error(
            "webhook given up",
            provider=claim.provider,
            event_id=claim.event_id,
            event_type=claim.event_type,
        )
        if self.observer is not None:
            given_up = EventGivenUp(f"{claim.event_type} {claim.event_id}")
            given_up.__cause__ = error
            self.observer.event_given_up(claim.event_type, given_up)

    def _count(self, event_type: str, receipt: Receipt, began: float) -> None:
        if self.observer is not None:
            seconds = trio.current_time() - began
            self.observer.event_done(event_type, receipt.outcome, seconds)


def _milliseconds(began: float) -> int:
    return round((trio.current_time() - began) * 1000)
