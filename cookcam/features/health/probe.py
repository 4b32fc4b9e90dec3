"""Checks of one service, and one that may be asked for at any rate."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from attrs import define, field
from msgspec import UNSET

from cookcam.errors import AppError
from cookcam.features.health.models import ServiceHealthResponse

PATIENCE = 2.0
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
    """Asks one service. The answer is kept for FRESH seconds; who asks meanwhile waits for it.

    A check gets PATIENCE seconds; one of more than SLOW_MS is degraded.
    """

    check: Callable[[], Awaitable[object]]
    _lock: trio.Lock = field(factory=trio.Lock, init=False)
    _last: ServiceHealthResponse | None = field(default=None, init=False)
    _asked: float = field(default=0.0, init=False)

    async def ask(self) -> ServiceHealthResponse:
        async with self._lock:
            now = trio.current_time()
            if self._last is None or now - self._asked >= FRESH:
                self._last = await self._ask()
                self._asked = trio.current_time()
            return self._last

    async def _ask(self) -> ServiceHealthResponse:
        said = await measured(self.check, PATIENCE)
        if said.latency is not UNSET and said.latency > SLOW_MS:
            return ServiceHealthResponse("degraded", latency=said.latency)
        return said
