"""Request body of the photo route."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from cookcam.features.literals import rejected_field
from cookcam.http import DOCUMENTED_AS_REQUIRED
from cookcam.images.encoding import BASE64_PATTERN
from cookcam.text import clean_prose

MAX_DESCRIPTION_LENGTH = 500


class RecipePhotoRequest(Struct):
    """A photograph in JSON, with the field names of the app."""

    imageData: Annotated[  # noqa: N815 - the wire name
        Any,
        Meta(
            description="JPEG, PNG, WebP, HEIC or AVIF up to 10 MB as base64, bare or a data URL.",
            extra_json_schema={
                "type": "string",
                "contentEncoding": "base64",
                "pattern": BASE64_PATTERN,
            },
        ),
        DOCUMENTED_AS_REQUIRED,
    ] = None
    description: Annotated[str, Meta(max_length=MAX_DESCRIPTION_LENGTH)] | None = None

    def __post_init__(self) -> None:
        if self.description is not None:
            self.description = clean_prose(self.description)

    def text(self) -> str:
        """The base64 text of the image. Raises ValidationError."""
        if not isinstance(self.imageData, str) or not self.imageData.strip():
            raise rejected_field("Image data is required", "imageData")
        return self.imageData
