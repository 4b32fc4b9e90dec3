"""How long to leave a service alone that failed, by whoever comes again until it is back."""

from __future__ import annotations

import random
from collections.abc import Callable

from attrs import define, field


@define
class Pause:
    """From `first` to `longest` seconds: twice as long after each failure in a row.

    `jitter` picks from half of it to all of it, so that those who failed together do not return
    together, and nobody returns at once.
    """

    first: float = 0.25
    longest: float = 4.0
    jitter: Callable[[float], float] = lambda pause: random.uniform(pause / 2, pause)  # noqa: S311
    _failures: int = field(default=0, init=False)

    def after_failure(self) -> float:
        """Seconds to wait now."""
        pause = min(self.longest, self.first * 2 ** min(self._failures, 16))
        self._failures += 1
        return self.jitter(pause)

    def reset(self) -> None:
        self._failures = 0
