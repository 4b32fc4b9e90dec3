"""Routes of `/health`, at the root and under `/api/v1`, and `/metrics`.

`/health`, `/health/live`, `/health/ready` and the page `/status` are public. The others require
internal access (`cookcam.http.internal`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

from quart import request

from cookcam.features.operations.health.figures import Figures
from cookcam.features.operations.health.models import (
    DetailedHealthResponse,
    HealthResponse,
    LivenessResponse,
    PerformanceResponse,
    ReadinessResponse,
    SecurityResponse,
    ServiceHealthResponse,
)
from cookcam.features.operations.health.service import Health
from cookcam.features.operations.health.status_page import render_status
from cookcam.http import (
    Routes,
    current_request_info,
    deadline,
    document_failures,
    document_response,
    hidden,
    probe,
    serve_in_maintenance,
    unconditional,
    validate_response,
)
from cookcam.http.internal import require_internal
from cookcam.http.requests import Request
from cookcam.http.responses import RawResponse
from cookcam.http.routing import CANONICAL, ROOT
from cookcam.observability.metrics import CONTENT_TYPE


def routes(health: Health, figures: Figures, render_metrics: Callable[[], bytes]) -> Routes:
    """`render_metrics` returns the Prometheus text format."""
    bp = Routes("health", __name__, prefixes=(CANONICAL, ROOT))
    keys = health.config.server.internal_api_keys

    def admit() -> None:
        require_internal(cast("Request", request), keys)

    @bp.get("/health")
    @probe
    @deadline(math.inf)
    @unconditional
    @document_response(HealthResponse)
    async def status() -> dict[str, Any]:
        """The process responds; its version and uptime."""
        return health.status(with_sockets=current_request_info().route == "/health")

    @bp.get("/health/live")
    @probe
    @deadline(math.inf)
    @unconditional
    @document_response(LivenessResponse)
    async def live() -> dict[str, Any]:
        """That the process is alive."""
        return {"alive": True}

    @bp.get("/health/ready")
    @probe
    @unconditional
    @validate_response(ReadinessResponse)
    @validate_response(ReadinessResponse, 503)
    async def ready() -> tuple[ReadinessResponse, int]:
        """Whether the process should be given traffic."""
        readiness = await health.readiness()
        return readiness, 200 if readiness.ready else 503

    @bp.get("/health/db")
    @probe
    @unconditional
    @document_failures(401)
    @validate_response(ServiceHealthResponse)
    @validate_response(ServiceHealthResponse, 503)
    async def database() -> tuple[ServiceHealthResponse, int]:
        """Whether the database answers, and how fast."""
        admit()
        service = await health.database()
        return service, 503 if service.status == "down" else 200

    @bp.get("/health/cache")
    @probe
    @unconditional
    @document_failures(401)
    @validate_response(ServiceHealthResponse)
    @validate_response(ServiceHealthResponse, 503)
    async def cache() -> tuple[ServiceHealthResponse, int]:
        """Whether the shared cache answers. Without it, each instance caches for itself."""
        admit()
        service = await health.cache()
        return service, 503 if service.status == "down" else 200

    @bp.get("/health/metrics")
    @probe
    @unconditional
    @document_failures(401)
    @validate_response(PerformanceResponse)
    async def performance() -> PerformanceResponse:
        """Requests of this instance since its start, and its latest slow queries."""
        admit()
        return figures.performance()

    @bp.get("/health/security")
    @probe
    @unconditional
    @document_failures(401)
    @validate_response(SecurityResponse)
    async def security() -> SecurityResponse:
        """Refused callers of the last 24 hours, and the blocklist."""
        admit()
        return await figures.security()

    @bp.get("/health/detailed")
    @probe
    @unconditional
    @document_failures(401)
    @validate_response(DetailedHealthResponse)
    @validate_response(DetailedHealthResponse, 503)
    async def detailed() -> tuple[DetailedHealthResponse, int]:
        """The state of what the server needs, and of the machine it runs on."""
        admit()
        details = await health.detailed()
        return details, 503 if details.status == "unhealthy" else 200

    @bp.get("/metrics")
    @probe
    @hidden
    async def metrics() -> RawResponse:
        admit()
        text = render_metrics()
        kind = CONTENT_TYPE.encode()
        return RawResponse(
            200, [(b"content-type", kind), (b"content-length", b"%d" % len(text))], text
        )

    @bp.get("/status")
    @serve_in_maintenance
    @hidden
    @unconditional
    async def status_page() -> RawResponse:
        page = render_status(await health.detailed(), draining=health.lifecycle.draining)
        return RawResponse(
            200,
            [
                (b"content-type", b"text/html; charset=utf-8"),
                (b"content-length", b"%d" % len(page)),
                (b"cache-control", b"public, max-age=10"),
            ],
            page,
        )

    return bp
