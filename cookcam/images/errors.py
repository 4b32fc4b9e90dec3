"""Errors of images. Endpoints with their own error texts catch and convert them."""

from __future__ import annotations

from typing import Self

from cookcam.errors import AppError, PayloadTooLarge


class ImageError(AppError):
    """An image that is rejected; `error` is a text that the app shows."""

    status, code, default_message = 422, "INVALID_IMAGE", "The image could not be read"

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if self.error is None:
            self.error = self.message


class InvalidImage(ImageError):
    """422: not an image, a broken one, or too many pixels."""


class WrongImageType(ImageError):
    """400: a recognized file type that is not supported."""

    status, code = 400, "UNSUPPORTED_IMAGE_TYPE"
    default_message = "The image must be a JPEG, PNG, WebP, HEIC or AVIF"

    @classmethod
    def of(cls, kind: str) -> Self:
        """`kind` is the file type with its article: "a GIF"."""
        return cls(f"The file is {kind}. Send the image as a JPEG, PNG, WebP, HEIC or AVIF")


class ImageTooLarge(PayloadTooLarge, ImageError):
    """413: more bytes than the limit."""

    default_message = "The image is too large"
