"""Figures for `/health/metrics`, of this instance, and `/health/security`, of all instances."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from attrs import frozen

from cookcam.database.pool_stats import SlowStatement
from cookcam.features.operations.health.models import (
    PerformanceResponse,
    RequestFigures,
    SecurityCounts,
    SecurityEvents,
    SecurityResponse,
    SlowQuery,
)
from cookcam.features.operations.security.models import SecurityFigures
from cookcam.http.responses import now_text, time_text
from cookcam.observability.metrics import Metrics

MAX_STATEMENT_LENGTH = 500


@frozen
class Figures:
    """`slow_statements` returns the latest, newest first; `blocked_networks` those on the
    operators' blocklist; `connections` counts open sockets."""

    metrics: Metrics
    slow_statements: Callable[[], Sequence[SlowStatement]]
    security_figures: Callable[[], Awaitable[SecurityFigures]]
    blocked_networks: Callable[[], list[str]]
    connections: Callable[[], int]

    def performance(self) -> PerformanceResponse:
        totals, now = self.metrics.requests, now_text()
        requests = max(totals.requests, 1)
        return PerformanceResponse(
            [
                RequestFigures(
                    avg_response_time=round(1000 * totals.seconds / requests, 1),
                    total_requests=totals.requests,
                    error_rate=round(100 * totals.failed / requests, 2),
                    measured_at=now,
                )
            ],
            [
                SlowQuery(
                    " ".join(one.text.split())[:MAX_STATEMENT_LENGTH],
                    round(one.seconds * 1000),
                    time_text(one.at),
                )
                for one in self.slow_statements()
            ],
            now,
        )

    async def security(self) -> SecurityResponse:
        """Raises ServiceUnavailable while the database is unavailable."""
        day = await self.security_figures()
        total = day.auth_failures + day.rate_limits + day.suspicious_activities
        return SecurityResponse(
            timestamp=now_text(),
            events=SecurityEvents(
                SecurityCounts(
                    total=total,
                    auth_failures=day.auth_failures,
                    rate_limits=day.rate_limits,
                    suspicious_activities=day.suspicious_activities,
                )
            ),
            blocked_ips=sorted(self.blocked_networks()),
            active_sessions=self.connections(),
            failed_login_attempts=day.failed_sign_ins,
        )
