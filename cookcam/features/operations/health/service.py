"""What the probes say. Source: `spec/operations.md` §7, `spec/realtime.md` §9.

Liveness checks nothing. Readiness checks the database (at most once a second), that all migrations
are applied, and that the bus between the instances has been joined; it takes two seconds at most
and is over from the first moment of shutdown. A bus that is lost later degrades `/health/detailed`
and leaves the instance ready: HTTP needs no bus, and all instances would be taken out of service at
once. No probe calls a provider: what is known of them is what `Externals` saw last.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import trio
from attrs import define, field

from cookcam.config import Config
from cookcam.errors import ServiceUnavailable
from cookcam.features.operations.health.models import (
    DetailedHealthResponse,
    OverallState,
    ReadinessResponse,
    ServiceHealthResponse,
    ServiceState,
)
from cookcam.features.operations.health.probe import TIMEOUT, Probe
from cookcam.features.operations.health.system import system
from cookcam.http.responses import now_text
from cookcam.lifecycle.state import Lifecycle

_OVERALL: Mapping[ServiceState, OverallState] = {
    "up": "healthy",
    "degraded": "degraded",
    "down": "unhealthy",
}


class PendingMigrations(ServiceUnavailable):
    """The schema is older than this program expects."""

    code = "MIGRATIONS_PENDING"


class RealtimeCounts(Protocol):
    """What the realtime hub tells about itself."""

    def connected_users(self) -> int:
        """Distinct users with at least one socket."""
        ...

    def connections(self) -> int:
        """Open sockets."""
        ...


@define(eq=False)
class Health:
    """`ping` asks the database and raises when it does not answer; `pending` gives the names of
    the migrations that are not applied; without `realtime`, sockets are disabled;
    `cooking_sessions` counts the active ones, `bus_connected` says whether other instances are
    heard, `external_apis` how the services of others are, if that is known. `started` is a moment
    of `time.monotonic`."""

    config: Config
    lifecycle: Lifecycle
    ping: Callable[[], Awaitable[object]]
    pending: Callable[[], Awaitable[Sequence[str]]]
    realtime: RealtimeCounts | None = None
    cooking_sessions: Callable[[], int] = lambda: 0
    bus_connected: Callable[[], bool] = lambda: True
    external_apis: Callable[[], ServiceHealthResponse | None] = lambda: None
    started: float = field(factory=time.monotonic)
    _database: Probe = field(init=False)
    _migrations: Probe = field(init=False)
    _migrated: bool = field(default=False, init=False)
    _bus_joined: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._database = Probe(self.ping)
        self._migrations = Probe(self._check_migrations)

    @property
    def uptime(self) -> int:
        return int(time.monotonic() - self.started)

    def status(self, *, with_sockets: bool) -> dict[str, Any]:
        """A `HealthOut` as a dict: this is the most asked route, so it is made by hand."""
        said: dict[str, Any] = {
            "status": "healthy",
            "timestamp": now_text(),
            "environment": self.config.environment,
            "version": self.config.server.version,
            "release": self.config.release,
            "uptime": self.uptime,
        }
        if self.lifecycle.draining:
            said["draining"] = True
        if with_sockets:
            said["websocket"] = self._sockets()
        return said

    async def run(self) -> None:
        """Background task: the checks that the probes request."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._database.run)
            nursery.start_soon(self._migrations.run)

    async def readiness(self) -> ReadinessResponse:
        """Takes PATIENCE seconds at most."""
        if self.lifecycle.draining:
            return ReadinessResponse(ready=False, draining=True)
        deadline = trio.current_time() + TIMEOUT
        services = {"database": await self._database.ask(deadline)}
        if services["database"].status != "down" and not self._migrated:
            services["migrations"] = await self._migrations.ask(deadline)
        self._bus_joined = self._bus_joined or self.bus_connected()
        if not self._bus_joined:
            services["bus"] = ServiceHealthResponse("down", error="NOT_JOINED")
        if self.lifecycle.draining:  # it may have begun while the database was thinking
            return ReadinessResponse(ready=False, draining=True)
        if any(service.status == "down" for service in services.values()):
            return ReadinessResponse(ready=False, services=services)
        return ReadinessResponse(ready=True)

    async def database(self) -> ServiceHealthResponse:
        return await self._database.ask(trio.current_time() + TIMEOUT)

    async def detailed(self) -> DetailedHealthResponse:
        database = await self.database()
        bus = (
            ServiceHealthResponse("up")
            if self.bus_connected()
            else ServiceHealthResponse("degraded", error="LOST")
        )
        services = {"database": database, "bus": bus}
        if (external := self.external_apis()) is not None:
            services["external_apis"] = external
        states: list[ServiceState] = [one.status for one in services.values()]
        gravest = max(states, key=list(_OVERALL).index)
        return DetailedHealthResponse(
            status=_OVERALL[gravest],
            timestamp=now_text(),
            version=self.config.server.version,
            environment=self.config.environment,
            uptime=self.uptime,
            services=services,
            system=system(),
        )

    def _sockets(self) -> dict[str, Any]:
        if self.realtime is None:
            none = {"connected_users": 0, "connections": 0, "cooking_sessions": 0}
            return {**none, "status": "disabled"}
        return {
            "connected_users": self.realtime.connected_users(),
            "connections": self.realtime.connections(),
            "cooking_sessions": self.cooking_sessions(),
            "status": "draining" if self.lifecycle.draining else "active",
        }

    async def _check_migrations(self) -> None:
        """Asked until there are none to wait for: this program never waits for more later."""
        if not self._migrated:
            if await self.pending():
                raise PendingMigrations()
            self._migrated = True
