"""One task that beats for every session: a ping each interval, an end to those who do not answer.

The interval is the same for all, so the order in which pings fall due is the order in which
sessions were put here: two ordered queues and one sleeping task do what would otherwise take a
task and two timers per session (3 kB each, which counts with ten thousand idle sockets).

The next ping is due one interval after the last pong, as in the reference server.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import trio
from attrs import define, field


class Beating(Protocol):
    """What a heartbeat needs of a session. Hashed by identity."""

    def ping(self) -> None:
        """Queue a ping for the client. Must not wait."""
        ...

    def ping_timed_out(self) -> None:
        """The pong did not come in time. Must not wait."""
        ...


@define(eq=False)
class Heartbeats:
    """`interval` and `timeout` in seconds of Trio's clock; `run` must be running somewhere."""

    interval: float
    timeout: float
    _resting: dict[Beating, float] = field(factory=dict["Beating", float], init=False)
    _asked: dict[Beating, float] = field(factory=dict["Beating", float], init=False)

    def start(self, session: Beating) -> None:
        """The session is pinged from now on, first after one interval."""
        self._resting[session] = trio.current_time() + self.interval

    def pong(self, session: Beating) -> None:
        """The client answered. A pong nobody asked for changes nothing."""
        if self._asked.pop(session, None) is not None:
            self.start(session)

    def stop(self, session: Beating) -> None:
        self._resting.pop(session, None)
        self._asked.pop(session, None)

    async def run(self) -> None:
        """Beats until cancelled."""
        while True:  # noqa: ASYNC110 - what is due is known, so nothing need be signalled
            # Whoever starts while this sleeps falls due later than what it sleeps for.
            await trio.sleep_until(self._beat(trio.current_time()))

    def _beat(self, now: float) -> float:
        """Does what is due; returns when to look again."""
        for session, due in _due(self._resting, now):
            # From the due time, not from now: a busy moment must not lengthen the timeout.
            self._asked[session] = due + self.timeout
            session.ping()
        for session, _ in _due(self._asked, now):
            session.ping_timed_out()
        nexts = (next(iter(queue.values())) for queue in (self._resting, self._asked) if queue)
        return min(nexts, default=now + self.interval)


def _due(queue: dict[Beating, float], now: float) -> Iterator[tuple[Beating, float]]:
    """Takes from the front what is due."""
    while queue:
        session, due = next(iter(queue.items()))
        if due > now:
            return
        del queue[session]
        yield session, due
