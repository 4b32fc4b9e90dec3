"""Payloads of the live feed events, as clients receive them."""

from __future__ import annotations

import secrets
from datetime import datetime
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from cookcam.errors import NotFound


class ShareNotFound(NotFound):
    default_message = "Live recipe not found"


def new_share_id() -> str:
    return f"share_{secrets.token_hex(13)}"


class LiveRecipe(Struct, rename="camel"):
    """Payload of `live_recipe_shared`, and the stored share."""

    id: str
    user_id: UUID
    recipe_id: UUID
    title: str
    description: str
    timestamp: datetime
    user_name: str
    tags: list[str]


class LiveRecipeLiked(Struct, rename="camel"):
    share_id: str
    liked_by: UUID
    user_name: str
    timestamp: datetime
    like_count: int


class LiveRecipeCommented(Struct, rename="camel"):
    share_id: str
    comment: str
    comment_by: UUID
    user_name: str
    timestamp: datetime


class LiveScan(Struct, rename="camel", kw_only=True):
    """Payload of `live_scan_shared`. `confidence` is passed on as sent: 0 to 1 or 0 to 100."""

    user_id: UUID
    user_name: str
    ingredients: list[str]
    confidence: float
    image_url: str | UnsetType = UNSET
    timestamp: datetime


class CollabRequest(Struct, rename="camel"):
    """Payload of `recipe_collab_request`."""

    from_user_id: UUID
    from_user_name: str
    recipe_id: UUID
    message: str
    timestamp: datetime
