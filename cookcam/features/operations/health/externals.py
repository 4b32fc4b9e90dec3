"""Whether the services of others answer, asked in the background and told from memory.

Source: `spec/http-api-core.md` §17, `spec/operations.md` §7, §8. A probe that asked them itself
would let anybody who may probe spend money and quota there.
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
class _Seen:
    said: ServiceHealthResponse
    at: float


@define(eq=False)
class Externals:
    """`checks` ask one service each, by name, and raise when it does not answer.

    None of them is more than degraded by being away: most of what people do needs none of them.
    """

    checks: Mapping[str, Check]
    _seen: dict[str, _Seen] = field(factory=dict[str, _Seen], init=False)

    async def run(self) -> None:
        """Background task: asks all of them once a minute. The first time is not at the start,
        when everybody else needs the processor."""
        await run_periodically(self.look, INTERVAL, spread=(0.9, 1.1))

    async def look(self) -> None:
        """Asks all of them now, for PATIENCE seconds each; a change is a line of the log."""
        async with trio.open_nursery() as nursery:
            for name, check in self.checks.items():
                nursery.start_soon(self._look, name, check)

    def report(self) -> ServiceHealthResponse | None:
        """All of them as one service, as they were last seen; None before the first time.

        `latency` is the longest, `error` has the name and code of each that did not answer, `age`
        is that of the oldest look.
        """
        if not self._seen:
            return None
        seen = {name: self._seen[name] for name in self.checks if name in self._seen}
        errors = [f"{name} {one.said.error}" for name, one in seen.items() if one.said.error]
        took = [one.said.latency for one in seen.values() if one.said.latency is not UNSET]
        return ServiceHealthResponse(
            "degraded" if errors else "up",
            latency=max(took, default=UNSET),
            error=", ".join(errors) or UNSET,
            age=round(trio.current_time() - min(one.at for one in seen.values())),
        )

    async def _look(self, name: str, check: Check) -> None:
        said = await measured(check, TIMEOUT)
        before = self._seen.get(name)
        self._seen[name] = _Seen(said, trio.current_time())
        log = structlog.get_logger("cookcam.health")
        if said.error and (before is None or not before.said.error):
            log.warning("external service does not answer", service=name, code=said.error)
        elif before is not None and before.said.error and not said.error:
            log.info("external service answers again", service=name)
