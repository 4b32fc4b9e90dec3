"""What can be wrong with a picture somebody sends.

Statuses are those of `spec/http-api-core.md` §6.6, §9.14 and §10.2; an endpoint with words of its
own catches the error and says them.
"""

from __future__ import annotations

from typing import Self

from cookcam.errors import AppError, PayloadTooLarge


class ImageError(AppError):
    """A picture that cannot be taken; `error` is plain words, as the app shows it."""

    status, code, default_message = 422, "INVALID_IMAGE", "The image could not be read"

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if self.error is None:
            self.error = self.message


class InvalidImage(ImageError):
    """422: no picture, a broken one, or one of too many pixels."""


class WrongImageType(ImageError):
    """400: a file of a kind that is not supported, by its content."""

    status, code = 400, "UNSUPPORTED_IMAGE_TYPE"
    default_message = "The image must be a JPEG, PNG, WebP, HEIC or AVIF"

    @classmethod
    def of(cls, kind: str) -> Self:
        """Names the kind of file, with its article: "a GIF"."""
        return cls(f"The file is {kind}. Send the image as a JPEG, PNG, WebP, HEIC or AVIF")


class ImageTooLarge(PayloadTooLarge, ImageError):
    """413: more bytes than the limit."""

    default_message = "The image is too large"
