"""Liveness, readiness and details.

Liveness checks nothing. Readiness checks the database (at most once a second), that all migrations
are applied, and that the bus between the instances has been joined. It takes at most two seconds
and fails from the start of a shutdown. A bus that is lost later degrades `/health/detailed` and the
instance stays ready: HTTP needs no bus, and a bus failure would take all instances out of service.
No health request calls a provider; `ExternalServices` has the latest results.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import trio
from attrs import define, field
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from cookcam.config import Config
from cookcam.errors import ServiceUnavailable
from cookcam.features.operations.health.models import (
    CircuitState,
    DetailedHealthResponse,
    OverallState,
    ProcessorUsage,
    ReadinessResponse,
    ServiceHealthResponse,
    ServiceState,
    SpaceUsage,
    SystemUsage,
)
from cookcam.features.operations.health.probe import TIMEOUT, Probe
from cookcam.http.responses import now_text
from cookcam.lifecycle.state import Lifecycle


def system() -> SystemUsage:
    disk = shutil.disk_usage(".")
    return SystemUsage(cpu=_processor(), disk=_usage(disk.used, disk.total), memory=_memory())


def _processor() -> ProcessorUsage:
    count = os.cpu_count() or 1
    return ProcessorUsage(usage=min(100, round(os.getloadavg()[0] / count * 100)), count=count)


def _memory() -> SpaceUsage | UnsetType:
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total = os.sysconf("SC_PHYS_PAGES") * page
        return _usage(total - os.sysconf("SC_AVPHYS_PAGES") * page, total)
    except (ValueError, OSError):
        return UNSET


def _usage(used: int, total: int) -> SpaceUsage:
    return SpaceUsage(used=used, total=total, percentage=round(100 * used / total) if total else 0)


_OVERALL: Mapping[ServiceState, OverallState] = {
    "up": "healthy",
    "degraded": "degraded",
    "down": "unhealthy",
}


class PendingMigrations(ServiceUnavailable):
    """The schema is older than this program expects."""

    code = "MIGRATIONS_PENDING"


class Circuit(Protocol):
    """The circuit breaker of an outside service."""

    @property
    def state(self) -> CircuitState: ...


class RealtimeCounts(Protocol):
    """Counts of the realtime hub."""

    def connected_users(self) -> int:
        """Distinct users with at least one socket."""
        ...

    def connections(self) -> int:
        """Open sockets."""
        ...


@define(eq=False)
class Health:
    """`ping` raises when the database does not respond; `pending` returns migrations that are not
    applied; without `realtime`, sockets are disabled; `cooking_sessions` counts active sessions;
    `bus_connected` is false while the bus is lost; `external_apis` and `storage` return the latest
    state of external services or None; `ping_cache` raises when the shared cache does not respond;
    `circuits` are the circuit breakers by service. `started` is a time of `time.monotonic`."""

    config: Config
    lifecycle: Lifecycle
    ping: Callable[[], Awaitable[object]]
    pending: Callable[[], Awaitable[Sequence[str]]]
    realtime: RealtimeCounts | None = None
    cooking_sessions: Callable[[], int] = lambda: 0
    bus_connected: Callable[[], bool] = lambda: True
    external_apis: Callable[[], ServiceHealthResponse | None] = lambda: None
    storage: Callable[[], ServiceHealthResponse | None] = lambda: None
    ping_cache: Callable[[], Awaitable[object]] = trio.lowlevel.checkpoint
    circuits: Mapping[str, Circuit] = field(factory=dict[str, Circuit])
    started: float = field(factory=time.monotonic)
    _database: Probe = field(init=False)
    _migrations: Probe = field(init=False)
    _cache: Probe = field(init=False)
    _migrated: bool = field(default=False, init=False)
    _bus_joined: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._database = Probe(self.ping)
        self._migrations = Probe(self._check_migrations)
        self._cache = Probe(self.ping_cache)

    @property
    def uptime(self) -> int:
        return int(time.monotonic() - self.started)

    def status(self, *, with_sockets: bool) -> dict[str, Any]:
        """A `HealthResponse` as a dict: the most frequent route skips the serialiser."""
        body: dict[str, Any] = {
            "status": "healthy",
            "timestamp": now_text(),
            "environment": self.config.environment,
            "version": self.config.server.version,
            "release": self.config.release,
            "uptime": self.uptime,
        }
        if self.lifecycle.draining:
            body["draining"] = True
        if with_sockets:
            body["websocket"] = self._sockets()
        return body

    async def run(self) -> None:
        """Background task: the checks on demand."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._database.run)
            nursery.start_soon(self._migrations.run)
            nursery.start_soon(self._cache.run)

    async def readiness(self) -> ReadinessResponse:
        """Takes at most TIMEOUT seconds."""
        if self.lifecycle.draining:
            return ReadinessResponse(ready=False, draining=True)
        deadline = trio.current_time() + TIMEOUT
        services = {"database": await self._database.status(deadline)}
        if services["database"].status != "down" and not self._migrated:
            services["migrations"] = await self._migrations.status(deadline)
        self._bus_joined = self._bus_joined or self.bus_connected()
        if not self._bus_joined:
            services["bus"] = ServiceHealthResponse("down", error="NOT_JOINED")
        if self.lifecycle.draining:  # it may have started during the checks
            return ReadinessResponse(ready=False, draining=True)
        if any(service.status == "down" for service in services.values()):
            return ReadinessResponse(ready=False, services=services)
        return ReadinessResponse(ready=True)

    async def database(self) -> ServiceHealthResponse:
        return await self._database.status(trio.current_time() + TIMEOUT)

    async def cache(self) -> ServiceHealthResponse:
        """The shared cache; in one process there is none that could be away."""
        return await self._cache.status(trio.current_time() + TIMEOUT)

    async def services(self) -> dict[str, ServiceHealthResponse]:
        """The state of everything the server needs. Only the database can be down: without the
        others it serves most routes, or serves them more slowly."""
        services = {
            "database": await self.database(),
            "cache": _at_worst_degraded(await self.cache()),
            "bus": ServiceHealthResponse("up")
            if self.bus_connected()
            else ServiceHealthResponse("degraded", error="LOST"),
        }
        for name, latest in (("storage", self.storage()), ("external_apis", self.external_apis())):
            if latest is not None:
                services[name] = _at_worst_degraded(latest)
        return services

    async def detailed(self) -> DetailedHealthResponse:
        services = await self.services()
        circuits: dict[str, CircuitState] = {
            name: circuit.state for name, circuit in self.circuits.items()
        }
        states: list[ServiceState] = [one.status for one in services.values()]
        if any(state != "closed" for state in circuits.values()):
            states.append("degraded")
        worst = max(states, key=list(_OVERALL).index)
        return DetailedHealthResponse(
            status=_OVERALL[worst],
            mode=self.lifecycle.mode.name,
            timestamp=now_text(),
            version=self.config.server.version,
            environment=self.config.environment,
            uptime=self.uptime,
            services=services,
            circuits=circuits,
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
        """Check until none is pending: later migrations do not affect a running program."""
        if not self._migrated:
            if await self.pending():
                raise PendingMigrations()
            self._migrated = True


def _at_worst_degraded(service: ServiceHealthResponse) -> ServiceHealthResponse:
    return replace(service, status="degraded") if service.status == "down" else service
