"""How a call to an outside service is bounded and repeated: one policy, stated where it is used.

A call that cannot be repeated safely has a policy of one attempt; it still has a deadline.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
from attrs import frozen

from cookcam.errors import AppError, ServiceUnavailable

T = TypeVar("T")


class OutOfTime(ServiceUnavailable):
    """The service did not answer in time; what it was asked to do may have been done."""


@frozen
class RetryPolicy:
    """`attempts` tries within `deadline` seconds in all, pauses included.

    Before try n + 1 it pauses a random time up to `first_pause * 2**(n - 1)` seconds, and up to
    `longest_pause` at most ("full jitter": callers who failed together do not return together).
    Only the errors in `worth_repeating` are repeated.
    """

    deadline: float
    attempts: int = 1
    first_pause: float = 0.1
    longest_pause: float = 2.0
    worth_repeating: tuple[type[AppError], ...] = (ServiceUnavailable,)

    async def call(
        self,
        operation: Callable[[], Awaitable[T]],
        *,
        jitter: Callable[[float], float] = lambda pause: random.uniform(0, pause),  # noqa: S311
    ) -> T:
        """The first result of `operation`, or the error of its last try.

        Raises OutOfTime when the deadline passes first. `jitter` picks the pause from its upper
        bound, in seconds.
        """
        with trio.move_on_after(self.deadline):
            for tried in range(1, self.attempts):
                try:
                    return await operation()
                except self.worth_repeating:
                    pause = min(self.longest_pause, self.first_pause * 2 ** (tried - 1))
                    await trio.sleep(jitter(pause))
            return await operation()
        raise OutOfTime
