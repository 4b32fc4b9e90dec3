"""Admission control: sheds load by queue time before latency grows for everyone.

A request is admitted when one of MAX_RUNNING places is free; otherwise it waits in a queue. The
rules, with their sources:

- The measure of overload is how long the oldest request has waited, not how many wait: queue time
  is what a client notices, and it needs no tuning to the speed of the machine (CoDel, RFC 8289).
- While the oldest request has waited less than QUEUE_TARGET the queue is first in, first out. Above
  that it is last in, first out: a new request is answered in time, and the clients of the oldest
  ones will time out first ("Fail at Scale", B. Maurer, ACM Queue 13(8), 2015).
- A request that has waited MAX_QUEUE_TIME is rejected with 503 and `Retry-After`. Rejections are
  spread (MAX_REJECTIONS_PER_SECOND), since each takes processor time from the requests that are
  answered. At MAX_QUEUED requests in a queue the next is rejected at once.
- A request occupies its place for at most PLACE_TIME seconds. One that runs longer waits for a
  provider, a lock or its client, and does not use the processor; requests that wait for the
  database are limited by the pool.
- Webhooks have a queue of their own, first in, first out. Every second free place goes to it, so
  that a flood of ordinary requests does not delay events that move money, and a flood of forged
  webhooks takes at most half of the places.

docs/reliability.md has the measurements.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import trio
from attrs import define, field

from cookcam.errors import ServiceOverloaded
from cookcam.observability.logging import get_logger
from cookcam.observability.metrics import Metrics

log = get_logger(__name__)

MAX_RUNNING: Final = 64
"""Twice the number that keeps one core and 20 database connections busy; at 1 to 2 ms of processor
time for a request, running requests are answered within 0.1 s."""
PLACE_TIME: Final = 0.5
"""Far above the latency of a request that does not wait for an outside service."""
QUEUE_TARGET: Final = 0.3
MAX_QUEUE_TIME: Final = 1.0
MAX_WEBHOOK_QUEUE_TIME: Final = 8.0
"""Below the 10 s after which Google Pub/Sub delivers a message again; Stripe waits longer."""
MAX_REJECTIONS_PER_SECOND: Final = 200
"""A rejection takes about 0.37 ms of a read's 1.2 ms, so at most 8% of the processor, however many
clients repeat their requests at once."""
MAX_QUEUED: Final = 2_000
"""A queued request holds about 20 kB."""
TICK: Final = 0.01
"""Interval, in seconds, of the task that advances the queue."""
CALM: Final = 5.0
"""Seconds without a rejection after which an overload counts as over."""


@define(eq=False)
class Place:
    """One request, from its arrival to its end. Times are in seconds of Trio's clock."""

    since: float
    webhook: bool
    decided: trio.Event | None = None
    """Set when a queued request is admitted or rejected."""
    rejected: bool = False


@define(eq=False)
class Admission:
    """The admission of one server. `run` is a background task that advances the queue."""

    metrics: Metrics | None = None
    _running: OrderedDict[Place, None] = field(factory=OrderedDict[Place, None], init=False)
    _queue: OrderedDict[Place, None] = field(factory=OrderedDict[Place, None], init=False)
    _webhooks: OrderedDict[Place, None] = field(factory=OrderedDict[Place, None], init=False)
    _webhook_next: bool = field(default=True, init=False)
    _next_rejection: float = field(default=0.0, init=False)
    _last_rejection: float = field(default=0.0, init=False)
    _rejected: int = field(default=0, init=False)
    """Rejections in the current overload; 0 without one."""
    _queued: trio.Event = field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        if self.metrics is not None:
            self.metrics.http_requests_queued.set_function(lambda: self.queued)

    @property
    def queued(self) -> int:
        return len(self._queue) + len(self._webhooks)

    async def enter(self, *, webhook: bool = False) -> Place:
        """Returns once the request may run. Raises ServiceOverloaded.

        The caller passes the place to `leave` when the request has ended.
        """
        place = Place(trio.current_time(), webhook)
        if not self.queued and self._has_room(place.since):
            self._running[place] = None
            return place
        queue = self._webhooks if webhook else self._queue
        if len(queue) >= MAX_QUEUED:
            self._count_rejection(place, place.since)
            raise ServiceOverloaded
        queue[place] = None
        place.decided = trio.Event()
        self._queued.set()
        try:
            await place.decided.wait()
        except trio.Cancelled:
            # Another task may have decided on the request between the cancellation and this line.
            if place in queue:
                del queue[place]
            else:
                self.leave(place)
            raise
        if place.rejected:
            raise ServiceOverloaded
        return place

    def leave(self, place: Place) -> None:
        """Gives the place to the next request in the queue."""
        self._running.pop(place, None)
        if self.queued:
            self._advance()

    async def run(self) -> None:
        while True:
            if self.queued:
                self._advance()
                await trio.sleep(TICK)
            elif self._rejected:
                with trio.move_on_after(CALM):
                    await self._arrival()
                self._note_calm()
            else:
                await self._arrival()

    async def _arrival(self) -> None:
        self._queued = trio.Event()
        await self._queued.wait()

    def _advance(self) -> None:
        """Admits and rejects due requests."""
        now = trio.current_time()
        while self.queued and self._has_room(now):
            place = self._next(now)
            # The queue time ends here; PLACE_TIME begins.
            place.since = now
            self._running[place] = None
            self._decide(place)
        self._reject_late(self._queue, MAX_QUEUE_TIME, now)
        self._reject_late(self._webhooks, MAX_WEBHOOK_QUEUE_TIME, now)

    def _has_room(self, now: float) -> bool:
        while len(self._running) >= MAX_RUNNING:
            if now - _oldest(self._running).since < PLACE_TIME:
                return False
            self._running.popitem(last=False)
        return True

    def _next(self, now: float) -> Place:
        if self._webhooks and (self._webhook_next or not self._queue):
            self._webhook_next = False
            return self._webhooks.popitem(last=False)[0]
        self._webhook_next = True
        overloaded = now - _oldest(self._queue).since > QUEUE_TARGET
        return self._queue.popitem(last=overloaded)[0]

    def _reject_late(self, queue: OrderedDict[Place, None], max_wait: float, now: float) -> None:
        while queue and now - _oldest(queue).since >= max_wait and now >= self._next_rejection:
            place, _ = queue.popitem(last=False)
            place.rejected = True
            self._decide(place)
            self._count_rejection(place, now)
            # After a delay, at most the rejections of one tick are caught up on.
            self._next_rejection = (
                max(self._next_rejection, now - TICK) + 1 / MAX_REJECTIONS_PER_SECOND
            )

    def _decide(self, place: Place) -> None:
        assert place.decided is not None  # noqa: S101 - queued requests have one
        place.decided.set()

    def _count_rejection(self, place: Place, now: float) -> None:
        if not self._rejected:
            log.warning("overloaded, refusing requests")
        self._rejected += 1
        self._last_rejection = now
        if self.metrics is not None:
            queue = "webhooks" if place.webhook else "requests"
            self.metrics.http_requests_refused_total.of(queue).inc()

    def _note_calm(self) -> None:
        if trio.current_time() - self._last_rejection >= CALM:
            log.info("overload ended", refused=self._rejected)
            self._rejected = 0


def _oldest(places: OrderedDict[Place, None]) -> Place:
    return next(iter(places))
