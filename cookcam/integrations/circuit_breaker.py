"""Circuit breaker for an outside service: while it is down, calls fail at once.

    closed ──FAILURES_TO_OPEN in a row──▶ open ──after a delay──▶ one trial call
      ▲                                    ▲                          │
      └────────────── success ─────────────┼──────────────────────────┤
                                           └──────── failure ─────────┘

Without it, every caller would wait for the timeout of a service that does not respond. The delay
doubles with each failed trial, with jitter, so that instances do not try together.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Literal, TypeVar

import structlog
import trio
from attrs import define, field

from cookcam.errors import AppError, ServiceUnavailable
from cookcam.integrations.pause import Backoff
from cookcam.observability.tracing import Kind, child_span

T = TypeVar("T")

FAILURES_TO_OPEN = 5
"""Failed attempts in a row. The attempts of one call count each; three calls are enough."""
INITIAL_DELAY, MAX_DELAY = 2.0, 30.0
"""Seconds until the first trial call, and at most between two."""

State = Literal["closed", "open", "trying"]
Outcome = Literal["ok", "unavailable", "timed_out", "rejected", "cancelled", "not_attempted"]
"""Outcome of an attempt, a label in the metrics. `rejected`: the service responded with an error.
`not_attempted`: the circuit was open."""


@define(slots=False, eq=False)
class CircuitOpen(ServiceUnavailable):
    """The service was not called, because its last calls failed; `retry_after` is in seconds."""

    retry_after: int = field(default=1, kw_only=True)

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [("Retry-After", str(self.retry_after))]


def _ignore(_outcome: Outcome, _seconds: float) -> None: ...


@define(eq=False)
class CircuitBreaker:
    """One per service, shared by all its callers.

    Only a ServiceUnavailable and a timeout count as failures. `responses` are subclasses of
    ServiceUnavailable that mean that the service did respond. `observe` gets the outcome and the
    seconds of each attempt.
    """

    service: str = "service"
    responses: tuple[type[AppError], ...] = ()
    observe: Callable[[Outcome, float], None] = _ignore
    backoff: Backoff = field(factory=lambda: Backoff(INITIAL_DELAY, MAX_DELAY))
    _failures: int = field(default=0, init=False)
    _opens_at: float = field(default=-math.inf, init=False)
    """When an open circuit allows the next trial call; -inf while it is closed."""
    _trying: bool = field(default=False, init=False)

    @property
    def state(self) -> State:
        if self._opens_at == -math.inf:
            return "closed"
        return "trying" if self._trying else "open"

    def check(self) -> None:
        """Raise CircuitOpen if a call would fail at once. For callers that queue before a call."""
        if self.state != "closed" and (self._trying or trio.current_time() < self._opens_at):
            self.observe("not_attempted", 0.0)
            wait = max(1, math.ceil(self._opens_at - trio.current_time()))
            raise CircuitOpen(retry_after=wait)

    @contextmanager
    def attempt(self) -> Generator[None]:
        """Around one attempt. Raises CircuitOpen, and whatever the block raises.

        A cancellation at the deadline of the attempt, or of what it is for, means that the service
        did not respond in time. Any other cancellation says nothing about the service.
        """
        self.check()
        self._trying = trial = self.state == "open"
        started, deadline = trio.current_time(), trio.current_effective_deadline()
        outcome: Outcome = "cancelled"
        try:
            with child_span(self.service, Kind.CLIENT):
                yield
            outcome = "ok"
        except Exception as error:
            outcome = self._outcome_of(error)
            raise
        except BaseException:  # trio.Cancelled, GeneratorExit
            outcome = "timed_out" if started < deadline <= trio.current_time() else "cancelled"
            raise
        finally:
            self.observe(outcome, trio.current_time() - started)
            self._settle(outcome, trial=trial)

    async def call(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Return the result of `operation`, called in one `attempt`."""
        with self.attempt():
            return await operation()

    def _outcome_of(self, error: Exception) -> Outcome:
        # Some clients raise an exception of their own with the error that the caller will get.
        cause = getattr(error, "error", None)
        failure = cause if isinstance(cause, AppError) else error
        down = isinstance(failure, ServiceUnavailable) and not isinstance(failure, self.responses)
        return "unavailable" if down else "rejected"

    def _settle(self, outcome: Outcome, *, trial: bool) -> None:
        if trial:
            self._trying = False
        if outcome in ("ok", "rejected"):
            self._close()
        elif outcome in ("unavailable", "timed_out"):
            self._failures += 1
            if trial or (self.state == "closed" and self._failures >= FAILURES_TO_OPEN):
                self._open()

    def _open(self) -> None:
        if self.state == "closed":
            structlog.get_logger(__name__).warning("circuit opened", service=self.service)
        self._opens_at = trio.current_time() + self.backoff.next_delay()

    def _close(self) -> None:
        self._failures = 0
        if self.state != "closed":
            structlog.get_logger(__name__).info("circuit closed", service=self.service)
            self._opens_at = -math.inf
            self.backoff.reset()
