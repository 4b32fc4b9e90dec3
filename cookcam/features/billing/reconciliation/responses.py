"""Response bodies of the reconciliation routes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from cookcam.features.billing.reconciliation.models import Alert, AlertRow, HealthRow, RunMetrics
from cookcam.http.responses import now_text, response_from


class ReconciliationRunResponse(Struct, rename="camel"):
    """`already_running` is omitted unless a run was in progress."""

    success: bool
    message: str
    timestamp: str
    already_running: bool | UnsetType = UNSET

    @classmethod
    def of(cls, started: bool) -> ReconciliationRunResponse:
        message = "Reconciliation job started"
        return cls(True, message, now_text(), UNSET if started else True)


class UserReconciliationResponse(Struct, rename="camel"):
    success: bool
    message: str
    user_id: UUID

    @classmethod
    def of(cls, user_id: UUID) -> UserReconciliationResponse:
        return cls(True, "User subscriptions reconciled", user_id)


class ReconciliationMetricsRow(Struct):
    id: UUID
    total_checked: int
    expired_count: int
    updated_count: int
    errors_count: int
    drift_detected: int
    duration_ms: int
    reconciled_at: datetime
    created_at: datetime

    @classmethod
    def of(cls, row: RunMetrics) -> ReconciliationMetricsRow:
        # A row is written when its run is finished.
        return response_from(cls, row, created_at=row.reconciled_at)


class ReconciliationMetricsResponse(Struct):
    success: bool
    metrics: list[ReconciliationMetricsRow]

    @classmethod
    def of(cls, rows: Iterable[RunMetrics]) -> ReconciliationMetricsResponse:
        return cls(True, [ReconciliationMetricsRow.of(row) for row in rows])


class ReconciliationDay(Struct):
    date: date
    runs_per_day: int
    avg_subscriptions_checked: float
    avg_drift_detected: float
    avg_errors: float
    avg_duration_ms: float
    max_duration_ms: int
    runs_with_errors: int
    drift_rate_percentage: float

    @classmethod
    def of(cls, row: HealthRow) -> ReconciliationDay:
        return response_from(
            cls,
            row,
            avg_subscriptions_checked=float(row.avg_subscriptions_checked),
            avg_drift_detected=float(row.avg_drift_detected),
            avg_errors=float(row.avg_errors),
            avg_duration_ms=float(row.avg_duration_ms),
            drift_rate_percentage=float(row.drift_rate_percentage),
        )


class ReconciliationHealthResponse(Struct):
    success: bool
    health: list[ReconciliationDay]

    @classmethod
    def of(cls, rows: Iterable[HealthRow]) -> ReconciliationHealthResponse:
        return cls(True, [ReconciliationDay.of(row) for row in rows])


class ReconciliationAlert(Struct):
    id: UUID
    reconciled_at: datetime
    total_checked: int
    drift_detected: int
    errors_count: int
    duration_ms: int
    alert_level: Alert
    alerts: list[Alert]
    error_rate_percentage: float | None
    drift_rate_percentage: float | None

    @classmethod
    def of(cls, row: AlertRow) -> ReconciliationAlert:
        errors, drift = row.error_rate_percentage, row.drift_rate_percentage
        return response_from(
            cls,
            row,
            error_rate_percentage=None if errors is None else float(errors),
            drift_rate_percentage=None if drift is None else float(drift),
        )


class ReconciliationAlertsResponse(Struct):
    success: bool
    alerts: list[ReconciliationAlert]
    count: int

    @classmethod
    def of(cls, rows: Iterable[AlertRow]) -> ReconciliationAlertsResponse:
        alerts = [ReconciliationAlert.of(row) for row in rows]
        return cls(True, alerts, len(alerts))
