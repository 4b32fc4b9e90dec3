"""What the favourite route reads."""

from __future__ import annotations

from msgspec import Struct


class FavoriteRequest(Struct):
    """`favorited` says how it shall be; without it the request turns what is."""

    favorited: bool | None = None
