"""What the routes of boxes read."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class OpenBoxRequest(Struct):
    """Who opens is known from the token. An id may be named, and must be the same."""

    user_id: Annotated[str, Meta(description="one's own id, if any")] | None = None
