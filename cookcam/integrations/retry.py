"""Retry policy for calls to outside services: deadline, attempts and backoff.

A call that cannot be repeated safely has a policy of one attempt, with a deadline.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import structlog
import trio
from attrs import frozen

from cookcam.errors import AppError, ServiceUnavailable
from cookcam.integrations.circuit_breaker import CircuitBreaker, CircuitOpen

T = TypeVar("T")


class ServiceTimeout(ServiceUnavailable):
    """The service did not respond in time; the operation may have been executed."""


@frozen
class RetryPolicy:
    """Up to `attempts` attempts within `deadline` seconds, delays included.

    After attempt n it waits a random time up to `initial_delay * 2**(n - 1)` seconds, and at most
    `max_delay` ("full jitter": callers that failed together do not retry together).
    Only the errors in `retry_on` are retried.
    """

    deadline: float
    attempts: int = 1
    initial_delay: float = 0.1
    max_delay: float = 2.0
    retry_on: tuple[type[AppError], ...] = (ServiceUnavailable,)

    async def call(
        self,
        operation: Callable[[], Awaitable[T]],
        breaker: CircuitBreaker | None = None,
        *,
        jitter: Callable[[float], float] = lambda pause: random.uniform(0, pause),  # noqa: S311
    ) -> T:
        """Return the first result of `operation`, or raise the error of its last attempt.

        Raises ServiceTimeout when the deadline passes first. While the circuit of `breaker` is open
        it raises CircuitOpen, without a retry. `jitter` picks the delay from its maximum, in
        seconds.
        """
        attempt_once = operation if breaker is None else partial(breaker.call, operation)
        with trio.move_on_after(self.deadline):
            for attempt in range(1, self.attempts):
                try:
                    return await attempt_once()
                except CircuitOpen:
                    raise
                except self.retry_on:
                    delay = min(self.max_delay, self.initial_delay * 2 ** (attempt - 1))
                    await trio.sleep(jitter(delay))
            return await attempt_once()
        raise ServiceTimeout


@contextmanager
def log_outage(event: str, **fields: str) -> Generator[None]:
    """Log `event` with the seconds it took when the block raises ServiceUnavailable."""
    started_at = trio.current_time()
    try:
        yield
    except ServiceUnavailable as error:
        seconds = round(trio.current_time() - started_at, 3)
        structlog.get_logger(__name__).warning(
            event, **fields, kind=type(error).__name__, seconds=seconds
        )
        raise
