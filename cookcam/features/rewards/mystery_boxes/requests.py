"""Request bodies of the mystery box routes."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class OpenBoxRequest(Struct):
    """The user is taken from the token. `user_id` is optional and must be the caller's own."""

    user_id: Annotated[str, Meta(description="the caller's own id")] | None = None
