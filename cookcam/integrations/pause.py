"""Exponential backoff with jitter for reconnecting to a failed service."""

from __future__ import annotations

import random
from collections.abc import Callable

from attrs import define, field


@define
class Backoff:
    """A delay from `initial` to `maximum` seconds, doubled after each consecutive failure.

    `jitter` picks between half of the delay and all of it, so that callers that failed together
    do not retry together, and none retries at once.
    """

    initial: float = 0.25
    maximum: float = 4.0
    jitter: Callable[[float], float] = lambda pause: random.uniform(pause / 2, pause)  # noqa: S311
    _failures: int = field(default=0, init=False)

    def next_delay(self) -> float:
        """Count a failure and return the seconds to wait."""
        delay = min(self.maximum, self.initial * 2 ** min(self._failures, 16))
        self._failures += 1
        return self.jitter(delay)

    def reset(self) -> None:
        self._failures = 0
