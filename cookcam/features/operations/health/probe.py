"""Checks of one service, and one that may be requested at any rate."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from attrs import define, field
from msgspec import UNSET

from cookcam.errors import AppError
from cookcam.features.operations.health.models import ServiceHealthResponse

TIMEOUT = 2.0
FRESH = 1.0
SLOW_MS = 1000


async def measured(
    check: Callable[[], Awaitable[object]], patience: float
) -> ServiceHealthResponse:
    """How long a check took, in whole ms; `patience` is in seconds.

    Whatever it raises means down; the answer names the code of an AppError, `TIMEOUT`, or `ERROR`.
    """
    started = trio.current_time()
    try:
        with trio.fail_after(patience):
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
    """Checks one service on request; the result is shared for FRESH seconds.

    The check runs in `run`, a background task, and not in the request that wants it: a statement
    that is cancelled while PostgreSQL stalls takes seconds to clean up, which no request waits for.
    A check gets PATIENCE seconds; one of more than SLOW_MS is degraded.
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

    async def ask(self, deadline: float) -> ServiceHealthResponse:
        """The state of the service; down with `TIMEOUT` when it is unknown at `deadline`, a time of
        Trio's clock."""
        if self._latest is None or trio.current_time() - self._checked_at >= FRESH:
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
