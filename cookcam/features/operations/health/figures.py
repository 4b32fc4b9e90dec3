"""Figures of this instance for `/health/metrics` and `/health/security`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
from cookcam.http.responses import now_text, time_text
from cookcam.observability.metrics import FAILED_LOGIN, SECURITY_EVENTS, Metrics

MAX_STATEMENT_LENGTH = 500


@frozen
class Figures:
    """`slow_statements` returns the latest, newest first; `exhausted_addresses` the addresses whose
    quota is used up; `connections` counts open sockets."""

    metrics: Metrics
    slow_statements: Callable[[], Sequence[SlowStatement]]
    exhausted_addresses: Callable[[], list[str]]
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

    def security(self) -> SecurityResponse:
        day = self.metrics.last_day.total()
        rejected = {kind: day.get(kind, 0) for kind in SECURITY_EVENTS.values()}
        return SecurityResponse(
            timestamp=now_text(),
            events=SecurityEvents(
                SecurityCounts(
                    total=sum(rejected.values()),
                    auth_failures=rejected["auth_failure"],
                    rate_limits=rejected["rate_limit"],
                    suspicious_activities=rejected["unauthorized_access"],
                )
            ),
            blocked_ips=sorted(self.exhausted_addresses()),
            active_sessions=self.connections(),
            failed_login_attempts=day.get(FAILED_LOGIN, 0),
        )
