"""The work on one picture, done in a thread: decode, flatten, turn, shrink, encode.

The decoded picture is the only large thing in memory: it is flattened and shrunk in strips, and a
JPEG is decoded at a fraction of its size where that is enough.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from cookcam.errors import ServiceOverloaded
from cookcam.images.errors import InvalidImage
from cookcam.images.headers import Format, Header, check_jpeg_scans

if TYPE_CHECKING:
    from PIL import Image

QUALITY = 85
STRIP = 64
"""Rows of the shrunk picture that are made at a time."""
SPARE = 1.5
"""How many times larger than wanted a picture stays for the last, careful step of shrinking."""

_MODERN: dict[Format, str] = {"HEIF": "HEIC", "AVIF": "AVIF"}
_PNG_METADATA = frozenset((b"tEXt", b"zTXt", b"iTXt", b"iCCP"))
_ORIENTATION = 0x0112
_SIDEWAYS = frozenset((5, 6, 7, 8))


def redraw(data: bytes, header: Header, fit: tuple[int, int]) -> bytes:
    """See `Images.prepare`. Blocks; imports Pillow on first use.

    Raises InvalidImage, and ServiceOverloaded when there is not enough memory.
    """
    try:
        return _redraw(data, header, fit)
    except InvalidImage:
        raise
    except MemoryError:
        raise ServiceOverloaded() from None
    except Exception:
        if header.format in _MODERN:
            raise InvalidImage(
                f"The {_MODERN[header.format]} image could not be decoded. Send it as a JPEG"
            ) from None
        # Decoders fail on hostile bytes in many ways: OSError, SyntaxError, ValueError, zlib.error,
        # struct.error, and more. None of their words are for the client.
        raise InvalidImage() from None


def _redraw(data: bytes, header: Header, fit: tuple[int, int]) -> bytes:
    from PIL import Image

    if header.format == "JPEG":
        check_jpeg_scans(data)
    elif header.format == "PNG":
        data = _without_metadata(data)
    with _open(data, header.format) as picture:
        if not _agrees(picture, header):
            raise InvalidImage()
        enough = int(max(fit) * SPARE)
        picture.draft(None, (enough, enough))  # of use to JPEG alone
        picture.load()
        orientation = _orientation(picture)
        box = (fit[1], fit[0]) if orientation in _SIDEWAYS else fit
        drawn = _flattened(picture, box)
    drawn.thumbnail(box, Image.Resampling.LANCZOS, reducing_gap=None)
    drawn = _upright(drawn, orientation)
    encoded = io.BytesIO()
    drawn.save(encoded, "JPEG", quality=QUALITY)
    return encoded.getvalue()


def _open(data: bytes, format: Format) -> Image.Image:
    """The image, not yet decoded. HEIC and AVIF are decoded in the calling thread alone."""
    from PIL import Image

    if format == "HEIF":
        from pillow_heif import HeifImageFile, options

        options.DECODE_THREADS = 1
        options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
        return HeifImageFile(io.BytesIO(data))
    if format == "AVIF":
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    return Image.open(io.BytesIO(data), formats=[format])


def _agrees(picture: Image.Image, header: Header) -> bool:
    """Whether the decoder found the size that the header claims.

    A decoder of HEIC and AVIF may have turned and cropped the image as the file says.
    """
    if header.format in _MODERN:
        return picture.width * picture.height <= header.pixels
    return picture.size == (header.width, header.height)


def _without_metadata(png: bytes) -> bytes:
    """`png` without its texts and its colour profile, which are not used.

    Pillow inflates them and rejects a file with a text of more than 1 MiB.
    """
    kept = [png[:8]]
    at = 8
    while at + 12 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        end = at + 12 + length
        if kind not in _PNG_METADATA:
            kept.append(png[at:end])
        at = end
    kept.append(png[at:])
    return b"".join(kept)


def _flattened(picture: Image.Image, box: tuple[int, int]) -> Image.Image:
    """`picture` in RGB on white, shrunk by a whole factor to somewhat more than `box`.

    A new picture: it has none of the old one's metadata.
    """
    from PIL import Image

    width, height = picture.size
    ratio = max(width / box[0], height / box[1])
    factor = max(1, int(ratio / SPARE))
    drawn = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    for top in range(0, height, STRIP * factor):
        bottom = min(height, top + STRIP * factor)
        strip = _on_white(picture.crop((0, top, width, bottom)))
        drawn.paste(strip.reduce(factor), (0, top // factor))
    return drawn


def _on_white(strip: Image.Image) -> Image.Image:
    from PIL import Image

    if strip.mode.startswith("I"):  # 16 bits a pixel; `convert` would cut them off at 255
        strip = _to_8_bits(strip.convert("I"))
    if not strip.has_transparency_data:
        return strip.convert("RGB")
    white = Image.new("RGBA", strip.size, "white")
    white.alpha_composite(strip.convert("RGBA"))
    return white.convert("RGB")


def _to_8_bits(strip: Image.Image) -> Image.Image:
    shrink: Callable[[Any], Any] = lambda value: value * (1 / 256)  # noqa: E731 - Pillow reads it
    return cast("Any", strip).point(shrink).convert("L")


def _orientation(picture: Image.Image) -> int:
    """1 to 8; 1, upright, where there is none or it cannot be read."""
    try:
        found = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # broken metadata do not make a broken picture
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _upright(picture: Image.Image, orientation: int) -> Image.Image:
    from PIL.Image import Transpose

    turn = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(orientation)
    return picture if turn is None else picture.transpose(turn)
