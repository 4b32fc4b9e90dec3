"""Routes of `/health`, at the root and under `/api/v1`, and `/metrics`.

`/health/detailed`, `/health/db` and `/metrics` require internal access (`cookcam.http.internal`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

from quart import request

from cookcam.features.operations.health.models import (
    DetailedHealthResponse,
    HealthResponse,
    LivenessResponse,
    ReadinessResponse,
    ServiceHealthResponse,
)
from cookcam.features.operations.health.service import Health
from cookcam.http import (
    Routes,
    current_request_info,
    deadline,
    document_failures,
    document_response,
    hidden,
    probe,
    unconditional,
    validate_response,
)
from cookcam.http.internal import require_internal
from cookcam.http.paths import CANONICAL, ROOT
from cookcam.http.requests import Request
from cookcam.http.responses import RawResponse
from cookcam.observability.metrics import CONTENT_TYPE


def routes(health: Health, render_metrics: Callable[[], bytes]) -> Routes:
    """`render_metrics` returns the Prometheus text format."""
    bp = Routes("health", __name__, prefixes=(CANONICAL, ROOT))
    key = health.config.server.internal_api_key

    def admit() -> None:
        require_internal(cast("Request", request), key)

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

    return bp
