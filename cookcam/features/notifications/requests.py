"""What the device routes read (`spec/payments-and-gamification.md` §12)."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

LONGEST_TOKEN = 4096


class DeviceRequest(Struct):
    """A device, by the token that Apple or Google gave its app."""

    token: Annotated[str, Meta(min_length=1, max_length=LONGEST_TOKEN)]
    platform: Literal["ios", "android"]

    def __repr__(self) -> str:
        return f"DeviceRequest(platform={self.platform!r})"
