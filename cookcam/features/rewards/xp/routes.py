"""Routes of XP and progress under `/gamification`."""

from __future__ import annotations

from msgspec import to_builtins

from cookcam.features.operations.idempotency.guard import idempotent
from cookcam.features.operations.idempotency.service import StoredReplies
from cookcam.features.rewards.xp.requests import AddXpRequest, ClaimMetadata
from cookcam.features.rewards.xp.responses import AddXpResponse, ProgressResponse
from cookcam.features.rewards.xp.service import Progress
from cookcam.http import (
    EncodedJson,
    Routes,
    document_response,
    errors_as,
    validate_request,
    validate_response,
)
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in


def routes(progress: Progress, replies: StoredReplies) -> Routes:
    bp = Routes("xp", __name__, legacy=True)

    @bp.post("/gamification/add-xp")
    @errors_as(unexpected="Failed to add XP")
    @signed_in
    @idempotent(replies)
    @validate_request(AddXpRequest)
    @validate_response(AddXpResponse)
    async def add_xp(caller: Identity, data: AddXpRequest) -> AddXpResponse:
        """Claim the XP of an action, within the limits of the action."""
        metadata = to_builtins(data.metadata or ClaimMetadata())
        award = await progress.claim(caller, data.claim(), metadata)
        return AddXpResponse.of(data.action, award)

    @bp.get("/gamification/progress")
    @errors_as(unexpected="Internal server error")
    @signed_in
    @document_response(ProgressResponse)
    async def get_progress(caller: Identity) -> EncodedJson:
        """The caller's level, newest award and unlocked achievements."""
        return EncodedJson(await progress.json_of(caller))

    return bp
