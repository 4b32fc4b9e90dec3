"""One task that pings every session at an interval, and ends those that do not respond.

The interval is the same for all, so pings fall due in the order in which sessions were added here:
two ordered queues and one sleeping task replace a task and two timers per session (3 kB each, which
matters with ten thousand idle sockets).

The next ping is due one interval after the last pong, as in the reference server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import trio
from attrs import define, field

from .failures import OnFailure, log_failure


class PingTarget(Protocol):
    """What is pinged: a session or a connection. Hashed by identity. No method may block."""

    def ping(self) -> None:
        """Queues a ping for the client."""
        ...

    def ping_timed_out(self) -> None:
        """Called when the pong did not arrive in time."""
        ...


@define(eq=False)
class Heartbeats:
    """`interval` and `timeout` are in seconds of Trio's clock. `run` must be running.

    An error of one target goes to `on_failure`, and does not end `run`. A target that cannot be
    pinged times out.
    """

    interval: float
    timeout: float
    on_failure: OnFailure = field(default=log_failure, repr=False)
    _idle: dict[PingTarget, float] = field(factory=dict[PingTarget, float], init=False)
    """Target → when its next ping is due."""
    _pinged: dict[PingTarget, float] = field(factory=dict[PingTarget, float], init=False)
    """Target → when its pong is overdue."""

    def start(self, target: PingTarget) -> None:
        """Pings the target from now on, first after one interval."""
        self._idle[target] = trio.current_time() + self.interval

    def pong(self, target: PingTarget) -> None:
        """Records a pong. An unsolicited one is ignored."""
        if self._pinged.pop(target, None) is not None:
            self.start(target)

    def stop(self, target: PingTarget) -> None:
        self._idle.pop(target, None)
        self._pinged.pop(target, None)

    async def run(self) -> None:
        """Pings until cancelled."""
        while True:  # noqa: ASYNC110 - the next due time is known, so no event is needed
            # A target that is added during the sleep falls due after its end.
            await trio.sleep_until(self._process_due(trio.current_time()))

    def _process_due(self, now: float) -> float:
        """Pings and ends what is due; returns the time of the next call, within one interval."""
        for target, due in _take_due(self._idle, now):
            # From the due time, not from now: a busy moment must not lengthen the timeout.
            self._pinged[target] = due + self.timeout
            self._contained(target.ping)
        for target, _ in _take_due(self._pinged, now):
            self._contained(target.ping_timed_out)
        next_due = (next(iter(queue.values())) for queue in (self._idle, self._pinged) if queue)
        return min([*next_due, now + self.interval])

    def _contained(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:
            self.on_failure("heartbeats", error)


def _take_due(queue: dict[PingTarget, float], now: float) -> Iterator[tuple[PingTarget, float]]:
    """Removes and yields the due entries at the front."""
    while queue:
        target, due = next(iter(queue.items()))
        if due > now:
            return
        del queue[target]
        yield target, due
