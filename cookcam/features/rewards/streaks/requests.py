"""Request parameters of the streak routes."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from msgspec import Meta, Struct, field

Day = date


class FreezeRequest(Struct):
    date: Annotated[Day, Meta(description="the day to freeze: yesterday in the user's time zone")]


class StreakRange(Struct):
    """Days as `YYYY-MM-DD`. `to` defaults to today, `from` to 29 days before `to`."""

    first: Day | None = field(default=None, name="from")
    last: Day | None = field(default=None, name="to")
