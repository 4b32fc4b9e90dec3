"""Checks of one service, and one that may be asked for at any rate."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from attrs import define, field
from msgspec import UNSET

from cookcam.errors import AppError
from cookcam.features.health.models import ServiceOut

PATIENCE = 2.0
FRESH = 1.0
SLOW_MS = 1000


async def measured(check: Callable[[], Awaitable[object]], patience: float) -> ServiceOut:
    """How long a check took, in whole ms; `patience` is in seconds.

    Whatever it raises means down; the answer names the code of an AppError, `TIMEOUT`, or `ERROR`.
    """
    started = trio.current_time()
    try:
        with trio.fail_after(patience):
            await check()
    except trio.TooSlowError:
        return ServiceOut("down", error="TIMEOUT")
    except AppError as exc:
        return ServiceOut("down", error=exc.code)
    except Exception:
        return ServiceOut("down", error="ERROR")
    return ServiceOut("up", latency=round((trio.current_time() - started) * 1000))


@define
class Probe:
    """Asks one service. The answer is kept for FRESH seconds; who asks meanwhile waits for it.

    A check gets PATIENCE seconds; one of more than SLOW_MS is degraded.
    """

    check: Callable[[], Awaitable[object]]
    _lock: trio.Lock = field(factory=trio.Lock, init=False)
    _last: ServiceOut | None = field(default=None, init=False)
    _asked: float = field(default=0.0, init=False)

    async def ask(self) -> ServiceOut:
        async with self._lock:
            now = trio.current_time()
            if self._last is None or now - self._asked >= FRESH:
                self._last = await self._ask()
                self._asked = trio.current_time()
            return self._last

    async def _ask(self) -> ServiceOut:
        said = await measured(self.check, PATIENCE)
        if said.latency is not UNSET and said.latency > SLOW_MS:
            return ServiceOut("degraded", latency=said.latency)
        return said
