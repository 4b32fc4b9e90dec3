"""A run, what it counts, and what is kept: `spec/payments-and-gamification.md` §8.2, §8.3."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final, Literal
from uuid import UUID

from attrs import frozen

OVERDUE: Final = timedelta(hours=26)
"""The last run is older than this: something keeps the daily one from happening."""

SLOW_MS: Final = 300_000

Alert = Literal["HIGH_ERROR_RATE", "RUN_CUT_SHORT", "HIGH_DRIFT_RATE", "SLOW_EXECUTION"]


@frozen
class Tally:
    """What happened on a page, besides corrections: those count themselves as they are made.

    `cut_short`: the rest of a list or of the rows of a provider was not compared.
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
    """A row of `reconciliation_runs`: the page that is next, and the counts up to there."""

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
    """A row of `reconciliation_metrics`: a run that is over."""

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
        """The thresholds it is over, the gravest first: the rule of `reconciliation_alerts_view`.

        A run that checked nothing has no rates; any error in it is one too many.
        """
        over: dict[Alert, bool] = {
            "HIGH_ERROR_RATE": self.errors_count * 10 > self.total_checked,
            "RUN_CUT_SHORT": self.cut_short,
            "HIGH_DRIFT_RATE": self.drift_detected * 20 > self.total_checked,
            "SLOW_EXECUTION": self.duration_ms > SLOW_MS,
        }
        return [alert for alert, is_over in over.items() if is_over]


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
