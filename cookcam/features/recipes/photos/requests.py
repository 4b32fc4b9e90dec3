"""Request body of the photo route."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from cookcam.features.literals import rejected_field
from cookcam.http import DOCUMENTED_AS_REQUIRED
from cookcam.images.encoding import BASE64_IMAGE
from cookcam.text import clean_prose

MAX_DESCRIPTION_LENGTH = 500


class RecipePhotoRequest(Struct):
    """A photograph in JSON, with the field names of the app."""

    imageData: Annotated[Any, BASE64_IMAGE, DOCUMENTED_AS_REQUIRED] = None  # noqa: N815 - the wire name
    description: Annotated[str, Meta(max_length=MAX_DESCRIPTION_LENGTH)] | None = None

    def __post_init__(self) -> None:
        if self.description is not None:
            self.description = clean_prose(self.description)

    def text(self) -> str:
        """The base64 text of the image. Raises ValidationError."""
        if not isinstance(self.imageData, str) or not self.imageData.strip():
            raise rejected_field("Image data is required", "imageData")
        return self.imageData
