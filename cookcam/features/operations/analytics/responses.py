"""Response bodies of the analytics routes. PostgreSQL builds those of the reports."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType


class TrackResponse(Struct):
    """`event_ids` is that of a batch, in its order; `event_id` is its first one."""

    success: bool
    message: str
    event_id: UUID
    level_up: bool
    event_ids: list[UUID] | UnsetType = UNSET


class DateRange(Struct):
    start: datetime
    end: datetime


class DashboardSummary(Struct):
    total_events: int
    unique_event_types: int
    total_scans: int
    total_recipes_generated: int
    timeframe: str
    date_range: DateRange


class RecentEvent(Struct):
    id: UUID
    type: str
    source: Literal["progress", "scan", "recipe"]
    timestamp: datetime
    data: Any


class DashboardData(Struct):
    """Counts by type, by UTC day and by UTC hour, and the ten newest events."""

    summary: DashboardSummary
    event_counts: dict[str, int]
    timeline: dict[str, int]
    hourly_distribution: dict[str, int]
    recent_events: list[RecentEvent]


class DateCount(Struct):
    date: date
    count: int


class DateAmount(Struct):
    date: date
    amount: float


class Engagement(Struct, rename="camel"):
    """`avg_session_duration` is in seconds, `recipe_conversion_rate` in generations per 100 scans,
    at most 100."""

    avg_session_duration: float
    avg_scans_per_user: float
    recipe_conversion_rate: float


class Charts(Struct, rename="camel"):
    user_growth: list[DateCount]
    scan_activity: list[DateCount]
    revenue_growth: list[DateAmount]


class DashboardResponse(Struct, rename="camel"):
    """The caller's own figures. `revenue` is the caller's earnings as a creator, `growth_rate` the
    change of the number of events against the timeframe before, in percent."""

    success: bool
    data: DashboardData
    total_users: int
    active_users: int
    total_scans: int
    total_recipes: int
    revenue: float
    growth_rate: float
    engagement: Engagement
    charts: Charts


class GlobalSummary(Struct):
    """`avg_events_per_user` is text with two decimals, or 0 without users."""

    total_events: int
    active_users: int
    new_users: int
    total_scans: int
    total_recipes_generated: int
    avg_events_per_user: str | Literal[0]
    timeframe: str


class ActivityDistribution(Struct):
    scans: int
    recipe_generations: int
    progress_events: int


class ActionCount(Struct):
    action: str
    count: int


class GlobalData(Struct):
    summary: GlobalSummary
    activity_distribution: ActivityDistribution
    top_actions: list[ActionCount]


class GlobalResponse(Struct):
    success: bool
    data: GlobalData


class ActiveUsers(Struct):
    """Users active on the day, and in the 7 and the 30 days up to it."""

    day: date
    daily: int
    weekly: int
    monthly: int


class RetentionCohort(Struct):
    """Users by the week of registration, and those active 1, 7 and 30 days after it; null before
    all of them have reached that day."""

    week: date
    users: int
    day_1: int | None
    day_7: int | None
    day_30: int | None


class TrialConversion(Struct):
    """Trials by the month of their start; the others are running."""

    month: date
    trials: int
    converted: int
    ended: int


class Churn(Struct):
    """Users who paid at the start of the month, and those of them who no longer did at its end."""

    month: date
    subscribers: int
    lost: int


class RecurringRevenue(Struct):
    """`monthly_cents` is at list prices; a yearly subscription counts a twelfth."""

    tier: str
    provider: str
    currency: str
    subscriptions: int
    monthly_cents: int


class BusinessFigures(Struct):
    active_users: list[ActiveUsers]
    retention: list[RetentionCohort]
    trial_conversion: list[TrialConversion]
    churn: list[Churn]
    recurring_revenue: list[RecurringRevenue]


class BusinessResponse(Struct):
    success: bool
    data: BusinessFigures
