"""The shapes of health answers, `spec/operations.md` §7 and `spec/realtime.md` §9."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

ServiceState = Literal["up", "degraded", "down"]
OverallState = Literal["healthy", "degraded", "unhealthy"]


class SocketCounts(Struct):
    connected_users: int
    connections: int
    cooking_sessions: int
    """Active ones."""
    status: Literal["active", "draining", "disabled"]


class HealthResponse(Struct):
    """`websocket` is in the answer at the root path only; `draining` only while it is true."""

    status: Literal["healthy"]
    timestamp: str
    environment: str
    version: str
    release: str
    uptime: int
    """Seconds since the start."""
    draining: bool | UnsetType = UNSET
    websocket: SocketCounts | UnsetType = UNSET


class LivenessResponse(Struct):
    alive: bool


class ServiceHealthResponse(Struct):
    """One thing the server needs. `latency` is in ms; `error` is a code, never a text; `age` is
    seconds since it was asked, where that is not now."""

    status: ServiceState
    latency: int | UnsetType = UNSET
    error: str | UnsetType = UNSET
    age: int | UnsetType = UNSET


class ReadinessResponse(Struct):
    ready: bool
    draining: bool | UnsetType = UNSET
    services: dict[str, ServiceHealthResponse] | UnsetType = UNSET


class SpaceUsage(Struct):
    """Bytes, and the whole percentage in use."""

    used: int
    total: int
    percentage: int


class ProcessorUsage(Struct):
    """`usage`: the load of the last minute in percent of all processors, at most 100."""

    usage: int
    count: int


class SystemUsage(Struct):
    cpu: ProcessorUsage
    disk: SpaceUsage
    memory: SpaceUsage | UnsetType = UNSET
    """Left out where the system does not tell."""


class DetailedHealthResponse(Struct):
    status: OverallState
    timestamp: str
    version: str
    environment: str
    uptime: int
    services: dict[str, ServiceHealthResponse]
    system: SystemUsage
