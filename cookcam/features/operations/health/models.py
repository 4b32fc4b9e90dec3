"""Responses of the health routes."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from cookcam.lifecycle.mode import ModeName

ServiceState = Literal["up", "degraded", "down"]
CircuitState = Literal["closed", "open", "trying"]
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
    """`circuits` has the circuit breaker of each outside service: one that is not `closed` has
    failed repeatedly, and calls of it fail at once. `mode` is what operators have switched on; it
    does not change `status`."""

    status: OverallState
    mode: ModeName
    timestamp: str
    version: str
    environment: str
    uptime: int
    services: dict[str, ServiceHealthResponse]
    circuits: dict[str, CircuitState]
    system: SystemUsage


class RequestFigures(Struct):
    """Requests of this instance since its start; the average in ms, 5xx responses in percent."""

    avg_response_time: float
    total_requests: int
    error_rate: float
    measured_at: str


class SlowQuery(Struct):
    """`query` is the statement without parameters, `execution_time` in ms."""

    query: str
    execution_time: int
    created_at: str


class PerformanceResponse(Struct):
    """`slowQueries` are the latest, newest first."""

    apiMetrics: list[RequestFigures]  # noqa: N815 - the wire
    slowQueries: list[SlowQuery]  # noqa: N815
    measured_at: str


class SecurityCounts(Struct):
    """Security events of all instances; `suspicious_activities` includes denied access (403)."""

    total: int
    auth_failures: int
    rate_limits: int
    suspicious_activities: int


class SecurityEvents(Struct):
    last_24h: SecurityCounts


class SecurityResponse(Struct):
    """`blocked_ips` are the addresses and networks on the blocklist; `active_sessions` are the open
    sockets of this instance."""

    timestamp: str
    events: SecurityEvents
    blocked_ips: list[str]
    active_sessions: int
    failed_login_attempts: int
