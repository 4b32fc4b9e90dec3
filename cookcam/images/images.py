"""Re-encodes images of users as small JPEG files, in threads."""

from __future__ import annotations

from functools import partial

import trio
from attrs import field, frozen

from cookcam.images.encoding import decode_base64
from cookcam.images.errors import ImageTooLarge, InvalidImage
from cookcam.images.headers import Header, measure
from cookcam.images.reencoding import reencode

MEGAPIXEL = 1_000_000
IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/heic", "image/heif", "image/avif")
"""The content types that `Images.prepare` accepts, for documentation; it ignores headers."""


@frozen
class Limits:
    """Maximum bytes of a file and pixels of an image."""

    max_bytes: int = 10 * 1024 * 1024
    max_pixels: int = 40 * MEGAPIXEL


@frozen(eq=False)
class Images:
    """Re-encodes images as JPEG. One per program: its limiters bound threads and memory.

        images = Images()
        jpeg = await images.prepare(data, fit=(800, 800))

    At most two images of usual size and one above `LARGE` are processed at a time, so this uses at
    most three threads and the memory of one large image (figures in docs/images-and-storage.md).
    """

    LARGE = 13 * MEGAPIXEL

    _usual: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(2), init=False)
    _large: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(1), init=False)

    def check(self, data: bytes, *, limits: Limits = Limits()) -> Header:
        """Validate size and header without decoding, which takes microseconds.

        Raises ImageTooLarge, WrongImageType, InvalidImage.
        """
        if len(data) > limits.max_bytes:
            raise ImageTooLarge()
        header = measure(data)
        if header.pixels > limits.max_pixels:
            megapixels = limits.max_pixels // MEGAPIXEL
            raise InvalidImage(f"The image has more than {megapixels} megapixels")
        return header

    async def prepare(
        self, data: bytes, *, fit: tuple[int, int], limits: Limits = Limits()
    ) -> bytes:
        """The image in `data` as a JPEG of quality 85 that fits inside `fit`.

        `data` is a JPEG, PNG, WebP, HEIC or AVIF, recognized by content. `fit` is (width, height)
        in pixels; smaller images are not enlarged. The image is rotated upright, transparency
        becomes white, and metadata is removed. Animations yield their first frame, HEIC files with
        several images the primary one.

        Raises ImageTooLarge (413) over `limits.max_bytes`, WrongImageType (400) for another file
        type, InvalidImage (422) for undecodable data and for more than `limits.max_pixels` pixels
        (checked in the header, before decoding).

        A cancelled call returns at once; its thread runs on and occupies the limiter until it ends.
        """
        header = self.check(data, limits=limits)
        limiter = self._large if header.pixels > self.LARGE else self._usual
        return await trio.to_thread.run_sync(
            reencode, data, header, fit, abandon_on_cancel=True, limiter=limiter
        )

    async def decode(self, text: str, *, limits: Limits = Limits()) -> bytes:
        """`decode_base64` in a thread: ten megabytes take tens of milliseconds."""
        return await trio.to_thread.run_sync(
            partial(decode_base64, text, max_bytes=limits.max_bytes),
            abandon_on_cancel=True,
            limiter=self._usual,
        )
