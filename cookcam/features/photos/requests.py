"""What the photo routes read."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from cookcam.features.literals import refused
from cookcam.web import WANTED

LONGEST_DESCRIPTION = 500


class PhotoRequest(Struct):
    """A photograph in JSON, under the app's names."""

    imageData: Annotated[  # noqa: N815 - the wire name
        Any,
        Meta(
            description="JPEG, PNG, WebP, HEIC or AVIF up to 10 MB as base64, bare or a data URL.",
            extra_json_schema={"type": "string", "contentEncoding": "base64", "minLength": 1},
        ),
        WANTED,
    ] = None
    description: Annotated[str, Meta(max_length=LONGEST_DESCRIPTION)] | None = None

    def text(self) -> str:
        """Raises ValidationError."""
        if not isinstance(self.imageData, str) or not self.imageData.strip():
            raise refused("Image data is required", "imageData")
        return self.imageData
