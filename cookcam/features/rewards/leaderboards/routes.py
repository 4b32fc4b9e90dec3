"""Routes of leaderboards and ranks under `/gamification`."""

from __future__ import annotations

from cookcam.features.rewards.leaderboards.models import UserRank
from cookcam.features.rewards.leaderboards.requests import LeaderboardQuery, RankQuery
from cookcam.features.rewards.leaderboards.responses import LeaderboardResponse, RankResponse
from cookcam.features.rewards.leaderboards.service import Leaderboards, user_not_found
from cookcam.http import (
    Routes,
    document_failures,
    errors_as,
    parse_uuid,
    query_integers,
    validate_querystring,
    validate_response,
)
from cookcam.identity import Identity
from cookcam.identity.guards import optional_caller, signed_in


def routes(leaderboards: Leaderboards) -> Routes:
    bp = Routes("leaderboards", __name__, legacy=True)

    @bp.get("/gamification/leaderboard")
    @errors_as(unexpected="Failed to fetch leaderboard")
    @optional_caller
    @document_failures(401)
    @query_integers(limit=50, offset=0)
    @validate_querystring(LeaderboardQuery)
    @validate_response(LeaderboardResponse)
    async def get_leaderboard(
        caller: Identity | None, limit: int, offset: int, query_args: LeaderboardQuery
    ) -> LeaderboardResponse:
        """Users by the XP of a period, and the caller's own place among them."""
        audience, period = query_args.audience(), query_args.valid_period()
        if query_args.is_around_caller():
            page = await leaderboards.around(caller, period, limit)
        else:
            page = await leaderboards.page(caller, audience, period, limit, offset)
        return LeaderboardResponse.of(audience, period, page)

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
