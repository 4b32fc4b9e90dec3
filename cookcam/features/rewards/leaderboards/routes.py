"""Routes of leaderboards and ranks under `/gamification`."""

from __future__ import annotations

from typing import Annotated, Any, Final, cast, get_args

from msgspec import Meta, Struct

from cookcam.features.literals import rejected_field
from cookcam.features.rewards.leaderboards.models import Audience, Period, UserRank
from cookcam.features.rewards.leaderboards.responses import LeaderboardResponse, RankResponse
from cookcam.features.rewards.leaderboards.service import Leaderboards, user_not_found
from cookcam.http import (
    EncodedJson,
    Routes,
    document_failures,
    document_response,
    errors_as,
    parse_uuid,
    query_integers,
    validate_querystring,
    validate_response,
)
from cookcam.identity import Identity
from cookcam.identity.guards import optional_caller, signed_in

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
        return "global" if self.type == "xp" else self.type


def routes(leaderboards: Leaderboards) -> Routes:
    bp = Routes("leaderboards", __name__, legacy=True)

    @bp.get("/gamification/leaderboard")
    @errors_as(unexpected="Failed to fetch leaderboard")
    @optional_caller
    @document_failures(401)
    @query_integers(limit=50, offset=0)
    @validate_querystring(LeaderboardQuery)
    @document_response(LeaderboardResponse)
    async def get_leaderboard(
        caller: Identity | None, limit: int, offset: int, query_args: LeaderboardQuery
    ) -> dict[str, Any]:
        """Users by the XP of a period, and the caller's own place among them."""
        audience, period = query_args.audience(), query_args.valid_period()
        if query_args.is_around_caller():
            page = await leaderboards.around(caller, period, limit)
        else:
            page = await leaderboards.page(caller, audience, period, limit, offset)
        return {
            "leaderboard": EncodedJson(page.entries),
            "userRank": page.user_rank,
            "metadata": {"type": audience, "period": period, "updated_at": page.updated_at},
        }

    @bp.get("/gamification/rank")
    @errors_as(unexpected="Internal server error")
    @signed_in
    @validate_querystring(RankQuery)
    @validate_response(RankResponse)
    async def own_rank(caller: Identity, query_args: RankQuery) -> UserRank:
        """The caller's rank among all users in a period."""
        return await leaderboards.rank(caller.user_id, query_args.valid_period())

    @bp.get("/gamification/rank/<user_id>")
    @errors_as(unexpected="Internal server error")
    @signed_in
    @validate_querystring(RankQuery)
    @validate_response(RankResponse)
    async def rank_of(caller: Identity, user_id: str, query_args: RankQuery) -> UserRank:
        """A user's rank among all users in a period."""
        period = query_args.valid_period()
        return await leaderboards.rank(parse_uuid(user_id, user_not_found()), period)

    return bp
