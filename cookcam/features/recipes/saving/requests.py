"""Request body of the favourite route."""

from __future__ import annotations

from msgspec import Struct


class FavoriteRequest(Struct):
    """`favorited` is the requested state; without it the request toggles the current state."""

    favorited: bool | None = None
