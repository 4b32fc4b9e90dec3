"""Routes of streaks under `/gamification`."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from msgspec import Meta, Struct, field

from cookcam.features.operations.idempotency.guard import idempotent
from cookcam.features.operations.idempotency.service import StoredReplies
from cookcam.features.rewards.streaks.responses import (
    CookResponse,
    FreezeResponse,
    StreakHistoryResponse,
    StreakStatusResponse,
)
from cookcam.features.rewards.streaks.service import Streaks
from cookcam.http import (
    EncodedJson,
    Routes,
    document_response,
    errors_as,
    validate_querystring,
    validate_request,
    validate_response,
)
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in

Day = date


class FreezeRequest(Struct):
    date: Annotated[Day, Meta(description="the day to freeze: yesterday in the user's time zone")]


class StreakRange(Struct):
    """Days as `YYYY-MM-DD`. `to` defaults to today, `from` to 29 days before `to`."""

    first: Day | None = field(default=None, name="from")
    last: Day | None = field(default=None, name="to")


def routes(streaks: Streaks, replies: StoredReplies) -> Routes:
    bp = Routes("streaks", __name__, legacy=True)

    @bp.post("/gamification/check-streak")
    @errors_as(unexpected="Failed to check streak")
    @signed_in
    @document_response(StreakStatusResponse)
    async def check_streak(caller: Identity) -> EncodedJson:
        """The state of the caller's streak. Changes nothing."""
        return EncodedJson(await streaks.status_json(caller))

    @bp.post("/gamification/streak/cook")
    @errors_as(unexpected="Failed to update streak")
    @signed_in
    @idempotent(replies)
    @validate_response(CookResponse)
    async def cook(caller: Identity) -> CookResponse:
        """Count a cooked recipe today, in the caller's time zone."""
        return CookResponse.of(await streaks.cook(caller))

    @bp.post("/gamification/streak/freeze")
    @errors_as(unexpected="Failed to use freeze token")
    @signed_in
    @validate_request(FreezeRequest)
    @validate_response(FreezeResponse)
    async def freeze(caller: Identity, data: FreezeRequest) -> FreezeResponse:
        """Spend a freeze token on yesterday, so that the streak goes on."""
        return FreezeResponse(await streaks.freeze(caller, data.date))

    @bp.get("/gamification/streak")
    @errors_as(unexpected="Failed to fetch streak")
    @signed_in
    @validate_querystring(StreakRange)
    @document_response(StreakHistoryResponse)
    async def get_streak(caller: Identity, query_args: StreakRange) -> EncodedJson:
        """The state of the caller's streak, and the cooked and frozen days of a range."""
        return EncodedJson(await streaks.history_json(caller, query_args.first, query_args.last))

    return bp
