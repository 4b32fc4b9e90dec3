"""Responses of the health routes."""

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
    """`websocket` is present at the root path only, `draining` only while it is true."""

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
    """State of one service. `latency` is in ms, `error` an error code, `age` the seconds since the
    check when it is not current."""

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
    """Omitted where the system does not report it."""


class DetailedHealthResponse(Struct):
    status: OverallState
    timestamp: str
    version: str
    environment: str
    uptime: int
    services: dict[str, ServiceHealthResponse]
    system: SystemUsage
