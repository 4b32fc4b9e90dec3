"""Routes of mystery boxes under `/mysteryBox`, and `/mystery-box` as one client spells it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from cookcam.errors import AuthorizationError
from cookcam.features.operations.idempotency.guard import idempotent
from cookcam.features.operations.idempotency.service import StoredReplies
from cookcam.features.rewards.mystery_boxes.responses import (
    BoxHistoryResponse,
    BoxStatsResponse,
    OpenBoxResponse,
)
from cookcam.features.rewards.mystery_boxes.service import MysteryBoxes
from cookcam.http import (
    Routes,
    document_failures,
    errors_as,
    query_integers,
    validate_request,
    validate_response,
)
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in


class OpenBoxRequest(Struct):
    """The user is taken from the token. `user_id` is optional and must be the caller's own."""

    user_id: Annotated[str, Meta(description="the caller's own id")] | None = None


NO_HISTORY = "Failed to fetch mystery box history"


def routes(boxes: MysteryBoxes, replies: StoredReplies) -> Routes:
    bp = Routes("mystery_boxes", __name__, legacy=True)

    @bp.post("/mysteryBox/open")
    @bp.post("/mystery-box/open")
    @errors_as(unexpected="Failed to open mystery box")
    @signed_in
    @idempotent(replies)
    @document_failures(403)
    @validate_request(OpenBoxRequest)
    @validate_response(OpenBoxResponse)
    async def open_box(caller: Identity, data: OpenBoxRequest) -> OpenBoxResponse:
        """Try for a mystery box: one try for each scan of the day, at most three boxes a day."""
        if data.user_id:
            require_own_id(caller, data.user_id)
        return OpenBoxResponse.of(await boxes.open(caller))

    @bp.get("/mysteryBox/history")
    @bp.get("/mystery-box/history")
    @errors_as(unexpected=NO_HISTORY)
    @signed_in
    @query_integers(limit=20)
    @validate_response(BoxHistoryResponse)
    async def own_history(caller: Identity, limit: int) -> BoxHistoryResponse:
        """The caller's own boxes, newest first."""
        return BoxHistoryResponse.of(await boxes.history(caller, limit))

    @bp.get("/mysteryBox/history/<user_id>")
    @bp.get("/mystery-box/history/<user_id>")
    @errors_as(unexpected=NO_HISTORY)
    @signed_in
    @document_failures(403)
    @query_integers(limit=20)
    @validate_response(BoxHistoryResponse)
    async def history(caller: Identity, user_id: str, limit: int) -> BoxHistoryResponse:
        """The caller's own boxes, newest first; 403 for another user's id."""
        require_own_id(caller, user_id)
        return BoxHistoryResponse.of(await boxes.history(caller, limit))

    @bp.get("/mysteryBox/stats")
    @bp.get("/mystery-box/stats")
    @errors_as(unexpected="Failed to fetch stats")
    @signed_in
    @validate_response(BoxStatsResponse)
    async def stats(caller: Identity) -> BoxStatsResponse:
        """Counts by rarity and reward type over the newest 1000 boxes of all users."""
        return BoxStatsResponse.of(await boxes.counts())

    return bp


def require_own_id(caller: Identity, user_id: str) -> None:
    """Raises AuthorizationError for any id but the caller's."""
    if user_id.lower() != str(caller.user_id):
        raise AuthorizationError("These boxes belong to another user", error="Access denied")
