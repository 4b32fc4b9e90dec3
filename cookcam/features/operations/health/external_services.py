"""Periodic background checks of external services; health responses use the latest results.

A health request never calls a provider: its callers could spend money and quota there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog
import trio
from attrs import define, field, frozen
from msgspec import UNSET

from cookcam.features.operations.health.models import ServiceHealthResponse
from cookcam.features.operations.health.probe import measured
from cookcam.lifecycle.background import run_periodically

INTERVAL: Final = 60.0
TIMEOUT: Final = 5.0

Check = Callable[[], Awaitable[object]]


@frozen
class _CheckedStatus:
    status: ServiceHealthResponse
    at: float


@define(eq=False)
class ExternalServices:
    """`checks` by service name; a check raises when its service does not respond.

    An external failure only degrades the health: most routes need no external service.
    """

    checks: Mapping[str, Check]
    _latest: dict[str, _CheckedStatus] = field(factory=dict[str, _CheckedStatus], init=False)

    async def run(self) -> None:
        """Background task: check all services once a minute, first a minute after the start."""
        await run_periodically(self.check_all, INTERVAL, spread=(0.9, 1.1))

    async def check_all(self) -> None:
        """Check all services concurrently, TIMEOUT seconds each; state changes are logged."""
        async with trio.open_nursery() as nursery:
            for name, check in self.checks.items():
                nursery.start_soon(self._check, name, check)

    def report(self, *names: str) -> ServiceHealthResponse | None:
        """The latest results of these services, by default of all, combined into one; None before
        the first check.

        `latency` is the maximum, `error` lists name and code of each failed service, `age` is that
        of the oldest result.
        """
        statuses = {
            name: self._latest[name] for name in names or self.checks if name in self._latest
        }
        if not statuses:
            return None
        errors = [
            f"{name} {one.status.error}" for name, one in statuses.items() if one.status.error
        ]
        latencies = [
            one.status.latency for one in statuses.values() if one.status.latency is not UNSET
        ]
        return ServiceHealthResponse(
            "degraded" if errors else "up",
            latency=max(latencies, default=UNSET),
            error=", ".join(errors) or UNSET,
            age=round(trio.current_time() - min(one.at for one in statuses.values())),
        )

    async def _check(self, name: str, check: Check) -> None:
        status = await measured(check, TIMEOUT)
        before = self._latest.get(name)
        self._latest[name] = _CheckedStatus(status, trio.current_time())
        log = structlog.get_logger("cookcam.health")
        if status.error and (before is None or not before.status.error):
            log.warning("external service unavailable", service=name, code=status.error)
        elif before is not None and before.status.error and not status.error:
            log.info("external service available again", service=name)
