"""Queries of the leaderboard routes."""

from __future__ import annotations

from typing import Annotated, Final, cast, get_args

from msgspec import Meta, Struct

from cookcam.features.literals import rejected_field
from cookcam.features.rewards.leaderboards.models import Audience, Period

PERIODS: Final[tuple[str, ...]] = get_args(Period)
TYPES: Final = ("global", "friends", "xp")
"""`xp` is the global leaderboard, as one client spells it."""

PeriodName = Annotated[str, Meta(extra_json_schema={"enum": list(PERIODS)})]


class RankQuery(Struct):
    period: PeriodName = "weekly"

    def valid_period(self) -> Period:
        """Raises ValidationError."""
        if self.period not in PERIODS:
            raise rejected_field("Invalid period", "period")
        return cast("Period", self.period)


class LeaderboardQuery(RankQuery):
    type: Annotated[
        str,
        Meta(
            description="`friends` are the users that the caller follows, and the caller",
            extra_json_schema={"enum": list(TYPES)},
        ),
    ] = "global"

    def audience(self) -> Audience:
        """Raises ValidationError."""
        if self.type not in TYPES:
            raise rejected_field("Invalid type", "type")
        return "friends" if self.type == "friends" else "global"
