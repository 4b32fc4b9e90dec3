"""Calls of Redis that have an alternative: a short time limit, and a pause after a failure."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import trio
from attrs import define, field

from cookcam.lifecycle.groups import leaves
from cookcam.observability.logging import get_logger

log = get_logger(__name__)

REDIS_TIMEOUT = 0.5
"""Maximum seconds an attempt takes; the alternative is usually faster."""
RETRY_DELAY = 1.0
"""Seconds without attempts after a failure."""


@define(eq=False)
class RedisAttempts:
    """The attempts of one component; `user` names it in the log."""

    user: str
    _unavailable_until: float = field(default=-math.inf, init=False)
    _unavailable: bool = field(default=False, init=False)

    async def attempt(self, operation: Callable[[], Awaitable[None]]) -> bool:
        """Run an operation. Returns False when it failed, took longer than the timeout, or was not
        attempted."""
        if trio.current_time() < self._unavailable_until:
            return False
        kind = "silent"
        with trio.move_on_after(REDIS_TIMEOUT):
            try:
                await operation()
            except* Exception as failed:  # an unexpected error must not fail the caller either
                kind = type(next(leaves(failed))).__name__
            else:
                self._mark_available()
                return True
        self._unavailable_until = trio.current_time() + RETRY_DELAY
        if not self._unavailable:
            self._unavailable = True
            log.warning("redis is unavailable", user=self.user, kind=kind)
        return False

    def _mark_available(self) -> None:
        if self._unavailable:
            self._unavailable = False
            log.info("redis is available again", user=self.user)
