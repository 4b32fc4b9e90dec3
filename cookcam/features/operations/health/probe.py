"""Timed checks of a service, with shared results."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from attrs import define, field
from msgspec import UNSET

from cookcam.errors import AppError
from cookcam.features.operations.health.models import ServiceHealthResponse

TIMEOUT = 2.0
MAX_AGE = 1.0
SLOW_MS = 1000


async def measured(check: Callable[[], Awaitable[object]], timeout: float) -> ServiceHealthResponse:
    """Run a check and measure its latency in ms; `timeout` is in seconds.

    Any exception means down; `error` is the code of an AppError, `TIMEOUT`, or `ERROR`.
    """
    started = trio.current_time()
    try:
        with trio.fail_after(timeout):
            await check()
    except trio.TooSlowError:
        return ServiceHealthResponse("down", error="TIMEOUT")
    except AppError as exc:
        return ServiceHealthResponse("down", error=exc.code)
    except Exception:
        return ServiceHealthResponse("down", error="ERROR")
    return ServiceHealthResponse("up", latency=round((trio.current_time() - started) * 1000))


@define
class Probe:
    """Checks one service on demand; the result is shared for MAX_AGE seconds.

    The check runs in the background task `run` and not in the request: cancelling a statement
    while PostgreSQL stalls takes seconds, and a request must not wait for that. A check has TIMEOUT
    seconds; above SLOW_MS the service is degraded.
    """

    check: Callable[[], Awaitable[object]]
    _latest: ServiceHealthResponse | None = field(default=None, init=False)
    _checked_at: float = field(default=0.0, init=False)
    _requested: trio.Event = field(factory=trio.Event, init=False)
    _finished: trio.Event = field(factory=trio.Event, init=False)

    async def run(self) -> None:
        while True:
            await self._requested.wait()
            self._latest = await self._measure()
            self._checked_at = trio.current_time()
            self._requested = trio.Event()
            self._finished.set()
            self._finished = trio.Event()

    async def status(self, deadline: float) -> ServiceHealthResponse:
        """The state of the service; down with `TIMEOUT` when it is unknown at `deadline`, a time of
        Trio's clock."""
        if self._latest is None or trio.current_time() - self._checked_at >= MAX_AGE:
            finished = self._finished
            self._requested.set()
            with trio.move_on_at(deadline):
                await finished.wait()
            if not finished.is_set():
                return ServiceHealthResponse("down", error="TIMEOUT")
        assert self._latest is not None  # noqa: S101 - a check has finished
        return self._latest

    async def _measure(self) -> ServiceHealthResponse:
        result = await measured(self.check, TIMEOUT)
        if result.latency is not UNSET and result.latency > SLOW_MS:
            return ServiceHealthResponse("degraded", latency=result.latency)
        return result
