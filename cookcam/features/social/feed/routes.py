"""Routes that read the live feed back: pages of shares, and the comments of a share."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from cookcam.features.pages import PageQuery, paged
from cookcam.features.social.feed.store import FeedStore
from cookcam.http import (
    EncodedJson,
    Routes,
    errors_as,
)
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in


class Share(Struct, rename="camel"):
    """A shared recipe, with the fields of `live_recipe_shared`.

    `recipe_id` is null when the recipe has been deleted. `liked`: by the caller.
    """

    id: str
    user_id: UUID
    user_name: str | None
    recipe_id: UUID | None
    title: str
    description: str
    tags: list[str]
    timestamp: datetime
    like_count: int
    comment_count: int
    liked: bool


class FeedResponse(Struct):
    """A page of shares, newest first. `next_cursor` is null on the last page."""

    shares: list[Share]
    next_cursor: str | None


class ShareComment(Struct, rename="camel"):
    """A comment, with the fields of `live_recipe_commented`."""

    id: UUID
    share_id: str
    comment: str
    comment_by: UUID
    user_name: str | None
    timestamp: datetime


class ShareCommentListResponse(Struct):
    """A page of comments, newest first. `next_cursor` is null on the last page."""

    comments: list[ShareComment]
    next_cursor: str | None


def routes(store: FeedStore) -> Routes:
    bp = Routes("feed", __name__)

    @bp.get("/feed")
    @errors_as(unexpected="Failed to fetch feed")
    @signed_in
    @paged(FeedResponse)
    async def feed(caller: Identity, limit: int, query_args: PageQuery) -> EncodedJson:
        """The recipes shared live, newest first."""
        return EncodedJson(await store.page(caller, query_args.key(), limit))

    @bp.get("/feed/<share_id>/comments")
    @errors_as(unexpected="Failed to fetch comments")
    @signed_in
    @paged(ShareCommentListResponse)
    async def comments(
        caller: Identity, share_id: str, limit: int, query_args: PageQuery
    ) -> EncodedJson:
        """The comments of a shared recipe, newest first."""
        page = await store.comments(caller, share_id, query_args.key(), limit)
        return EncodedJson(page)

    return bp
