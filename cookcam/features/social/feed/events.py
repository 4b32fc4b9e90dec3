"""Handlers of the live feed events that clients send (docs/cooking.md)."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType, field

from cookcam.config.sections import RealtimeConfig
from cookcam.features.literals import visible_line, visible_prose
from cookcam.features.recipes.catalogue.service import recipe_not_found
from cookcam.features.social.feed.service import Feed
from cookcam.http import parse_uuid
from cookcam.realtime.connection import Connection
from cookcam.realtime.events import Events
from cookcam.realtime.limits import broadcast_quota
from cookcam.sliding_windows import Quota
from cookcam.text import clean_prose

Id = Annotated[str, Meta(min_length=1, max_length=128)]
Tag = Annotated[str, Meta(min_length=1, max_length=30)]
Ingredient = Annotated[str, Meta(min_length=1, max_length=100)]


class ShareRecipe(Struct, rename="camel"):
    recipe_id: Id
    title: Annotated[str, Meta(min_length=1, max_length=120)]
    description: Annotated[str, Meta(max_length=500)]
    tags: Annotated[list[Tag], Meta(max_length=10)] = field(default_factory=list[Tag])

    def __post_init__(self) -> None:
        self.title = visible_line(self.title, "title")
        self.description = clean_prose(self.description)
        self.tags = [visible_line(tag, "tags") for tag in self.tags]


class LikeRecipe(Struct, rename="camel"):
    share_id: Id


class CommentRecipe(Struct, rename="camel"):
    share_id: Id
    comment: Annotated[str, Meta(min_length=1, max_length=500)]

    def __post_init__(self) -> None:
        self.comment = visible_prose(self.comment, "comment")


class ShareScan(Struct, rename="camel"):
    ingredients: Annotated[list[Ingredient], Meta(min_length=1, max_length=100)]
    confidence: Annotated[float, Meta(ge=0, le=100)]
    image_url: Annotated[str, Meta(max_length=2048)] | UnsetType = UNSET

    def __post_init__(self) -> None:
        self.ingredients = [visible_line(item, "ingredients") for item in self.ingredients]


class RequestCollab(Struct, rename="camel"):
    target_user_id: UUID
    recipe_id: Id
    message: Annotated[str, Meta(max_length=500)]

    def __post_init__(self) -> None:
        self.message = clean_prose(self.message)


def events(feed: Feed, settings: RealtimeConfig) -> Events:
    events = Events("feed")
    _sharing(events, feed, broadcast_quota(settings))
    _reactions(events, feed, Quota("reactions", settings.reactions_per_minute, 60.0))
    _requests(events, feed, Quota("collab requests", settings.collab_requests_per_minute, 60.0))
    return events


def collab_quota(settings: RealtimeConfig) -> Quota:
    """Collaboration requests per hour from one user to one other user."""
    return Quota("collab requests per target", settings.collab_requests_per_target, 3600.0)


def _sharing(events: Events, feed: Feed, quota: Quota) -> None:
    @events.on("share_recipe_live", ShareRecipe, quota=quota)
    async def share_recipe(caller: Connection, data: ShareRecipe) -> None:
        recipe_id = parse_uuid(data.recipe_id, recipe_not_found())
        await feed.share_recipe(caller, recipe_id, data.title, data.description, data.tags)

    @events.on("share_scan_result", ShareScan, quota=quota)
    async def share_scan(caller: Connection, data: ShareScan) -> None:
        await feed.share_scan(caller, data.ingredients, data.confidence, data.image_url)


def _reactions(events: Events, feed: Feed, quota: Quota) -> None:
    @events.on("like_live_recipe", LikeRecipe, quota=quota)
    async def like(caller: Connection, data: LikeRecipe) -> None:
        await feed.like(caller, data.share_id)

    @events.on("comment_live_recipe", CommentRecipe, quota=quota)
    async def comment(caller: Connection, data: CommentRecipe) -> None:
        await feed.comment(caller, data.share_id, data.comment)


def _requests(events: Events, feed: Feed, quota: Quota) -> None:
    @events.on("request_recipe_collab", RequestCollab, quota=quota)
    async def request_collab(caller: Connection, data: RequestCollab) -> None:
        recipe_id = parse_uuid(data.recipe_id, recipe_not_found())
        await feed.request_collab(caller, data.target_user_id, recipe_id, data.message)
