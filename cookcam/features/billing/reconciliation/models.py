"""Runs, their counts, metrics and alerts."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final, Literal
from uuid import UUID

from attrs import frozen

MAX_AGE: Final = timedelta(hours=26)
"""Of the last run; if it is older, the daily runs do not happen."""

SLOW_MS: Final = 300_000

Alert = Literal["HIGH_ERROR_RATE", "RUN_CUT_SHORT", "HIGH_DRIFT_RATE", "SLOW_EXECUTION"]


@frozen
class Tally:
    """The counts of a page, without corrections, which are counted in their own transactions.

    `cut_short`: the rest of a provider's list or rows was not compared.
    """

    checked: int = 0
    errors: int = 0
    drift: int = 0
    """Drift that could not be corrected."""
    cut_short: bool = False

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.checked + other.checked,
            self.errors + other.errors,
            self.drift + other.drift,
            self.cut_short or other.cut_short,
        )


@frozen
class Run:
    """A row of `reconciliation_runs`: the next page, and the counts so far."""

    id: UUID
    holder: UUID
    step: str | None
    cursor: str | None
    total_checked: int
    expired_count: int
    updated_count: int
    errors_count: int
    drift_detected: int
    worked_ms: int
    began_at: datetime
    finished_at: datetime | None


@frozen
class RunMetrics:
    """A row of `reconciliation_metrics`: a finished run."""

    id: UUID
    total_checked: int
    expired_count: int
    updated_count: int
    errors_count: int
    drift_detected: int
    duration_ms: int
    reconciled_at: datetime
    cut_short: bool

    @property
    def alerts(self) -> list[Alert]:
        """The exceeded thresholds, most severe first, as in `reconciliation_alerts_view`.

        In a run that checked nothing, any error exceeds the threshold.
        """
        exceeded: dict[Alert, bool] = {
            "HIGH_ERROR_RATE": self.errors_count * 10 > self.total_checked,
            "RUN_CUT_SHORT": self.cut_short,
            "HIGH_DRIFT_RATE": self.drift_detected * 20 > self.total_checked,
            "SLOW_EXECUTION": self.duration_ms > SLOW_MS,
        }
        return [alert for alert, is_exceeded in exceeded.items() if is_exceeded]


@frozen
class HealthRow:
    """A day of `reconciliation_health_view`."""

    date: date
    runs_per_day: int
    avg_subscriptions_checked: Decimal
    avg_drift_detected: Decimal
    avg_errors: Decimal
    avg_duration_ms: Decimal
    max_duration_ms: int
    runs_with_errors: int
    drift_rate_percentage: Decimal


@frozen
class AlertRow:
    """A run of `reconciliation_alerts_view`; rates are None when nothing was checked."""

    id: UUID
    reconciled_at: datetime
    total_checked: int
    drift_detected: int
    errors_count: int
    duration_ms: int
    alert_level: Alert
    alerts: list[Alert]
    error_rate_percentage: Decimal | None
    drift_rate_percentage: Decimal | None
