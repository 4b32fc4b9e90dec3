"""Routes of blocks under `/users`."""

from __future__ import annotations

from uuid import UUID

from cookcam.errors import NotFound
from cookcam.features.pages import PageQuery, paged
from cookcam.features.social.cooking.service import Cooking
from cookcam.features.social.moderation.blocks import Blocks
from cookcam.features.social.moderation.responses import BlockedUsersResponse, BlockResponse
from cookcam.http import (
    EncodedJson,
    Routes,
    errors_as,
    parse_uuid,
    validate_response,
)
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in


def routes(blocks: Blocks, cooking: Cooking) -> Routes:
    bp = Routes("blocks", __name__)

    @bp.get("/users/blocked")
    @errors_as(unexpected="Failed to fetch blocked users")
    @signed_in
    @paged(BlockedUsersResponse)
    async def blocked(caller: Identity, limit: int, query_args: PageQuery) -> EncodedJson:
        """The users that the caller has blocked, the latest first."""
        return EncodedJson(await blocks.blocked_by(caller, query_args.key(), limit))

    @bp.post("/users/<user_id>/block")
    @errors_as(unexpected="Failed to block user")
    @signed_in
    @validate_response(BlockResponse)
    async def block(caller: Identity, user_id: str) -> BlockResponse:
        """Block a user. Both stop seeing and following each other."""
        other = _id(user_id)
        await blocks.block(caller, other)
        await cooking.separate(caller.user_id, other)
        return BlockResponse(True, True)

    @bp.delete("/users/<user_id>/block")
    @errors_as(unexpected="Failed to unblock user")
    @signed_in
    @validate_response(BlockResponse)
    async def unblock(caller: Identity, user_id: str) -> BlockResponse:
        """Unblock a user. Does nothing without a block."""
        await blocks.unblock(caller, _id(user_id))
        return BlockResponse(True, False)

    return bp


def _id(text: str) -> UUID:
    return parse_uuid(text, NotFound("User not found", error="User not found"))
