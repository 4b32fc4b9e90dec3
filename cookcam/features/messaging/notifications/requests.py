"""Request body of the device routes."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

MAX_TOKEN_LENGTH = 4096


class DeviceRequest(Struct):
    """A device, identified by its APNs or FCM token."""

    token: Annotated[str, Meta(min_length=1, max_length=MAX_TOKEN_LENGTH)]
    platform: Literal["ios", "android"]

    def __repr__(self) -> str:
        return f"DeviceRequest(platform={self.platform!r})"
