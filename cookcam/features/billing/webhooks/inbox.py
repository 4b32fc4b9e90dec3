"""Stripe's inbox: every event is stored before anything else, and done exactly once.

    delivered ──► claimed (committed) ──► looked at ──► written and marked, in one transaction
                      ▲                        │
                      └── sweep, redelivery ◄──┴ failed: 1, 5, 30 minutes, then hourly, ten times

The request that brings an event works on it itself, for up to `TIMEOUT` seconds, so that the
answer says what became of it: an event that failed is a 500, and comes again from Stripe as well as
from the sweep. Whoever holds a claim may be killed at any moment: five minutes later the claim is
anybody's. The mark checks the claim, so that of two who hold the same event one writes nothing.
Source: `spec/payments-and-gamification.md` §5.2, §5.3.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final, Protocol

import structlog
import trio
from attrs import field, frozen

from cookcam.database import Transaction
from cookcam.errors import AppError, DeadlineExceeded, ServiceUnavailable
from cookcam.features.billing.stripe.handlers import Handlers, carry_out
from cookcam.features.billing.webhooks.models import LAST_ATTEMPT, Claim, Claimed, Receipted
from cookcam.features.billing.webhooks.store import ClaimLost, InboxStore
from cookcam.integrations.stripe.events import Event
from cookcam.integrations.stripe.reading import API_VERSION

TIMEOUT: Final = 8.0
"""Seconds for one event. Stripe waits about ten for an answer."""
INTERVAL: Final = 5.0
"""Seconds between two looks for events that are due."""
BATCH: Final = 10
BOOKKEEPING: Final = 2.0

log = structlog.get_logger(__name__)


class InboxObserver(Protocol):
    """Who counts events, and hears of those that were given up."""

    def event_done(self, event_type: str, outcome: str, seconds: float) -> None: ...

    def event_given_up(self, event_type: str, error: Exception) -> None: ...


class EventGivenUp(Exception):
    """An event of Stripe failed for the last time: somebody has to look."""


@frozen
class Inbox:
    """`retrieve` asks Stripe for an event that could not be stored whole."""

    store: InboxStore
    handlers: Handlers
    retrieve: Callable[[str], Awaitable[Event]]
    observer: InboxObserver
    _reported_versions: set[str | None] = field(factory=set[str | None], init=False)

    async def receive(self, event: Event, body: str | None) -> Receipted:
        """Takes a verified event; `body` is its text as it came, None for one that PostgreSQL
        cannot keep. Raises ServiceUnavailable when it could not be stored.
        """
        began = trio.current_time()
        self._report_version(event.api_version)
        receipted = await self._receive(event, body)
        seconds = trio.current_time() - began
        self.observer.event_done(event.type, receipted.outcome, seconds)
        return receipted

    async def run(self) -> None:
        """Background task: works on what is due, on this and other instances, each on its own.

        Raises ServiceUnavailable while the database is away.
        """
        while True:
            await self.sweep()
            await trio.sleep(INTERVAL)

    async def sweep(self) -> int:
        """Works on all that is due now; how many events that were."""
        for buried in await self.store.bury():
            self._give_up(buried.event_id, buried.event_type, None)
        done = 0
        while batch := await self.store.due(BATCH):
            for claimed in batch:
                began = trio.current_time()
                receipted = await self._rework(claimed)
                seconds = trio.current_time() - began
                self.observer.event_done(claimed.event_type, receipted.outcome, seconds)
            done += len(batch)
        return done

    def _report_version(self, version: str | None) -> None:
        """Logs once that events come in another version than that of our requests: both are read
        back to 2022-11-15, and a later one may not be."""
        if version != API_VERSION and version not in self._reported_versions:
            self._reported_versions.add(version)
            log.warning(
                "Stripe webhook endpoint has another API version",
                api_version=version,
                expected=API_VERSION,
            )

    async def _receive(self, event: Event, body: str | None) -> Receipted:
        if self.handlers.find(event) is None:
            standing = await self.store.accept(event, body)
            return Receipted(standing or "processed")
        claim = await self.store.claim(event, body)
        if not isinstance(claim, Claim):
            return Receipted(claim)
        return await self._work(claim, event.type, partial(self._apply, event, claim))

    async def _rework(self, claimed: Claimed) -> Receipted:
        async def apply() -> None:
            payload = claimed.payload
            event = await self.retrieve(claimed.event_id) if payload is None else Event.of(payload)
            await self._apply(event, claimed.claim)

        return await self._work(claimed.claim, claimed.event_type, apply)

    async def _work(
        self, claim: Claim, event_type: str, apply: Callable[[], Awaitable[None]]
    ) -> Receipted:
        began = trio.current_time()
        try:
            with trio.move_on_after(TIMEOUT) as scope:
                await apply()
            if scope.cancelled_caught:
                raise DeadlineExceeded()
        except ClaimLost:
            return Receipted("in_progress")
        except Exception as error:
            await self._failed(claim, event_type, error)
            return Receipted("failed")
        except trio.Cancelled:
            # Who waited has left, or the process ends: the next who comes need not wait.
            deadline = trio.current_time() + BOOKKEEPING
            with trio.CancelScope(shield=True, deadline=deadline), suppress(AppError):
                await self.store.failed(claim, "interrupted", at_once=True)
            raise
        return Receipted("processed", _milliseconds(began))

    async def _apply(self, event: Event, claim: Claim) -> None:
        began, handler = trio.current_time(), self.handlers.find(event)
        write = None if handler is None else await handler(event)
        if write is None:
            await self.store.done_alone(claim, _milliseconds(began))
            return

        async def mark(tx: Transaction) -> None:
            await self.store.done(tx, claim, _milliseconds(began))

        await carry_out(self.store.database, write, mark)

    async def _failed(self, claim: Claim, event_type: str, error: Exception) -> None:
        if isinstance(error, ServiceUnavailable | DeadlineExceeded):
            log.warning("webhook failed", event_id=claim.event_id, code=error.code)
        else:
            log.error("webhook failed", event_id=claim.event_id, exc_info=error)
        reason = error.code if isinstance(error, AppError) else type(error).__name__
        attempts = await self.store.failed(claim, reason)
        if attempts is not None and attempts >= LAST_ATTEMPT:
            self._give_up(claim.event_id, event_type, error)

    def _give_up(self, event_id: str, event_type: str, error: Exception | None) -> None:
        log.error("webhook given up", event_id=event_id, event_type=event_type)
        given_up = EventGivenUp(f"{event_type} {event_id}")
        given_up.__cause__ = error
        self.observer.event_given_up(event_type, given_up)


def _milliseconds(began: float) -> int:
    return round((trio.current_time() - began) * 1000)
