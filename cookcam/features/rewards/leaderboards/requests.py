"""Queries of the leaderboard routes."""

from __future__ import annotations

from typing import Annotated, Final, cast, get_args

from msgspec import Meta, Struct

from cookcam.features.literals import rejected_field
from cookcam.features.rewards.leaderboards.models import Audience, Period

PERIODS: Final[tuple[str, ...]] = get_args(Period)
TYPES: Final = ("global", "friends", "country", "xp")
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
            description="`friends` are the users that the caller follows, and the caller; `country`"
            " the users of the caller's country, if the profile has one",
            extra_json_schema={"enum": list(TYPES)},
        ),
    ] = "global"
    around: Annotated[
        str,
        Meta(
            description="`me`: the page of the global leaderboard around the caller's place",
            extra_json_schema={"enum": ["me"]},
        ),
    ] = ""

    def is_around_caller(self) -> bool:
        """Raises ValidationError."""
        if self.around not in ("", "me") or (self.around and self.audience() != "global"):
            raise rejected_field("Invalid around", "around")
        return bool(self.around)

    def audience(self) -> Audience:
        """Raises ValidationError."""
        if self.type not in TYPES:
            raise rejected_field("Invalid type", "type")
        return "global" if self.type == "xp" else cast("Audience", self.type)
