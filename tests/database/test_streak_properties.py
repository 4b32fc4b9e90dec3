"""Streaks against a model in Python: time zones, changes of the clock, leap days, travel.

The functions read the time from `today_in` only; these tests set it there, on their own database.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from attrs import define, field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import Connection, connect

from tests.support.postgres import as_owner

CLOCK = """
create or replace function public.today_in(p_timezone text) returns date
language sql stable set search_path = '' as $$
  select (current_setting('cookcam.test_time')::timestamptz at time zone p_timezone)::date
$$"""

ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland",
    "Pacific/Honolulu", "Pacific/Kiritimati", "America/Sao_Paulo", "Australia/Lord_Howe",
)  # fmt: skip
STARTS = (
    datetime(2024, 2, 27, 12, tzinfo=UTC),  # before a leap day
    datetime(2025, 2, 27, 12, tzinfo=UTC),  # and without one
    datetime(2025, 3, 28, 12, tzinfo=UTC),  # clocks forward in Europe
    datetime(2025, 10, 24, 12, tzinfo=UTC),  # and back
    datetime(2025, 3, 7, 12, tzinfo=UTC),  # forward in America
    datetime(2025, 12, 30, 12, tzinfo=UTC),
)

STEPS = st.lists(
    st.tuples(
        st.one_of(
            st.just("cook"),
            st.just("cook"),
            st.just("freeze"),
            st.sampled_from(ZONES),
        ),
        st.integers(0, 40 * 60),  # minutes since the step before
    ),
    min_size=3,
    max_size=14,
)


@define
class StreakModel:
    """The rules of docs/rewards.md, with dates only."""

    zone: str = "UTC"
    current: int = 0
    maximum: int = 0
    last: date | None = None
    used: int = 0
    tokens: int = 3
    cooked: dict[date, int] = field(factory=dict[date, int])
    frozen: set[date] = field(factory=set[date])

    def today(self, now: datetime) -> date:
        return now.astimezone(ZoneInfo(self.zone)).date()

    def bridged(self, before: date) -> bool:
        """Whether all days between the last cook and `before` were frozen."""
        assert self.last is not None
        days = (before - self.last).days
        return all(self.last + timedelta(n) in self.frozen for n in range(1, days))

    def cook(self, now: datetime) -> None:
        today = self.today(now)
        self.cooked[today] = self.cooked.get(today, 0) + 1
        if self.last is not None and self.last >= today:
            return
        self.current = self.current + 1 if self.last and self.bridged(today) else 1
        self.maximum = max(self.maximum, self.current)
        self.last = today
        self.tokens += self.current % 7 == 0

    def freeze(self, now: datetime) -> bool:
        day = self.today(now) - timedelta(1)
        if (
            self.last is None
            or self.last >= day
            or not self.bridged(day)
            or self.used >= self.tokens
            or day in self.frozen
            or day in self.cooked
        ):
            return False
        self.frozen.add(day)
        self.used += 1
        return True

    def shown(self, now: datetime) -> dict[str, Any]:
        today = self.today(now)
        alive = self.last is not None and (self.last >= today or self.bridged(today))
        return {
            "current_streak": self.current if alive else 0,
            "longest_streak": self.maximum,
            "checked_in_today": self.last is not None and self.last >= today,
            "last_check_in": self.last and self.last.isoformat(),
            "streak_shields": self.tokens - self.used,
        }


def value(connection: Connection, statement: str, *params: object) -> Any:
    row = connection.execute(statement.encode(), params).fetchone()
    assert row is not None
    return row[0]


def test_streaks_follow_the_model_in_any_zone_and_on_travels(fresh_database_url: str):
    with connect(as_owner(fresh_database_url), autocommit=True) as connection:
        connection.execute(CLOCK.encode())

        @settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.sampled_from(STARTS), st.sampled_from(ZONES), STEPS)
        def follow(start: datetime, zone: str, steps: list[tuple[str, int]]) -> None:
            with connection.transaction(force_rollback=True):
                user: UUID = value(
                    connection,
                    "insert into auth.users (email) values ('ann@example.test') returning id",
                )
                zoned = "update users set timezone = %s where id = %s returning id"
                value(connection, zoned, zone, user)
                model, now = StreakModel(zone), start
                for step, minutes in steps:
                    now += timedelta(minutes=minutes)
                    value(connection, "select set_config('cookcam.test_time', %s, true)", str(now))
                    if step == "cook":
                        model.cook(now)
                        value(connection, "select record_cook(%s)", user)
                    elif step == "freeze":
                        day = model.today(now) - timedelta(1)
                        expected = model.freeze(now)
                        used = value(connection, "select use_freeze_token(%s, %s)", user, day)
                        assert used == expected
                    else:
                        model.zone = step
                        value(connection, zoned, step, user)
                    shown = value(connection, "select check_user_streak(%s)", user)
                    assert shown == model.shown(now), (step, now)

        follow()
