"""Whatever picture somebody sends, as a small clean JPEG, made in a thread."""

from __future__ import annotations

from functools import partial

import trio
from attrs import field, frozen

from cookcam.images.encoding import decode_base64
from cookcam.images.errors import ImageTooLarge, InvalidImage
from cookcam.images.headers import Header, measure
from cookcam.images.redrawing import redraw

MEGAPIXEL = 1_000_000
IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/heic", "image/heif", "image/avif")
"""Content types of what `Images.prepare` takes, for documentation. The content decides."""


@frozen
class Limits:
    """What is taken in: bytes of the file, pixels of the picture."""

    max_bytes: int = 10 * 1024 * 1024
    max_pixels: int = 40 * MEGAPIXEL


@frozen(eq=False)
class Images:
    """Makes JPEGs of pictures. One per program: its limiters bound threads and memory.

        images = Images()
        jpeg = await images.prepare(data, fit=(800, 800))

    Pictures of usual size are worked on two at a time, those above `LARGE` one at a time, so that
    three threads and one large picture's memory are the most this takes (docs/images-and-storage.md
    has the figures).
    """

    LARGE = 13 * MEGAPIXEL

    _usual: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(2), init=False)
    _large: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(1), init=False)

    def check(self, data: bytes, *, limits: Limits = Limits()) -> Header:
        """What `prepare` refuses without decoding anything: a matter of microseconds.

        Raises ImageTooLarge, WrongImageType, InvalidImage.
        """
        if len(data) > limits.max_bytes:
            raise ImageTooLarge()
        header = measure(data)
        if header.pixels > limits.max_pixels:
            most = limits.max_pixels // MEGAPIXEL
            raise InvalidImage(f"The image has more than {most} megapixels")
        return header

    async def prepare(
        self, data: bytes, *, fit: tuple[int, int], limits: Limits = Limits()
    ) -> bytes:
        """The image in `data` as a JPEG of quality 85 that fits inside `fit`.

        `data` is a JPEG, PNG, WebP, HEIC or AVIF, by content. `fit` is (width, height) in pixels; a
        smaller image is not enlarged. It is turned upright as the file says, then nothing of its
        metadata is kept; transparency becomes white. Of an animation the first frame is taken, of a
        HEIC of several images the primary one.

        Raises ImageTooLarge (413) over `limits.max_bytes`, WrongImageType (400) for another kind
        of file, InvalidImage (422) for what cannot be decoded or has more than `limits.max_pixels`
        pixels; the last is seen in the header, before anything is decoded.

        A cancelled call leaves at once. Its thread, which holds nothing but `data`, ends by itself
        and keeps its place in the limiter until then.
        """
        header = self.check(data, limits=limits)
        limiter = self._large if header.pixels > self.LARGE else self._usual
        return await trio.to_thread.run_sync(
            redraw, data, header, fit, abandon_on_cancel=True, limiter=limiter
        )

    async def decode(self, text: str, *, limits: Limits = Limits()) -> bytes:
        """`decode_base64` in a thread: ten megabytes take some hundredths of a second."""
        return await trio.to_thread.run_sync(
            partial(decode_base64, text, max_bytes=limits.max_bytes),
            abandon_on_cancel=True,
            limiter=self._usual,
        )
