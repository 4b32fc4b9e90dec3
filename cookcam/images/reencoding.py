"""Re-encodes one image in a thread: decode, flatten, rotate, shrink, encode.

Only the decoded image is large in memory: it is flattened and shrunk in strips, and a JPEG is
decoded at a fraction of its size where possible.
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
"""Rows of the shrunk image per strip."""
SPARE = 1.5
"""Size of the coarsely shrunk image relative to the target, for the final resampling step."""

_MODERN: dict[Format, str] = {"HEIF": "HEIC", "AVIF": "AVIF"}
_PNG_METADATA = frozenset((b"tEXt", b"zTXt", b"iTXt", b"iCCP"))
_ORIENTATION = 0x0112
_SIDEWAYS = frozenset((5, 6, 7, 8))


def reencode(data: bytes, header: Header, fit: tuple[int, int]) -> bytes:
    """See `Images.prepare`. Blocks; imports Pillow on first use.

    Raises InvalidImage, and ServiceOverloaded when there is not enough memory.
    """
    try:
        return _reencode(data, header, fit)
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
        # struct.error, and more. Their messages are not for clients.
        raise InvalidImage() from None


def _reencode(data: bytes, header: Header, fit: tuple[int, int]) -> bytes:
    from PIL import Image

    if header.format == "JPEG":
        check_jpeg_scans(data)
    elif header.format == "PNG":
        data = _without_metadata(data)
    with _open(data, header.format) as picture:
        if not _agrees(picture, header):
            raise InvalidImage()
        enough = int(max(fit) * SPARE)
        picture.draft(None, (enough, enough))  # has an effect on JPEG only
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
    """Open the image without decoding it. HEIC and AVIF decode in the calling thread only."""
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
    """Whether the decoded size matches the header.

    Decoders of HEIC and AVIF apply the rotation and cropping of the file.
    """
    if header.format in _MODERN:
        return picture.width * picture.height <= header.pixels
    return picture.size == (header.width, header.height)


def _without_metadata(png: bytes) -> bytes:
    """Remove the texts and the colour profile of a PNG, which are not used.

    Pillow inflates them and rejects a file with a text of more than 1 MiB.
    """
    chunks = [png[:8]]
    at = 8
    while at + 12 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        end = at + 12 + length
        if kind not in _PNG_METADATA:
            chunks.append(png[at:end])
        at = end
    chunks.append(png[at:])
    return b"".join(chunks)


def _flattened(picture: Image.Image, box: tuple[int, int]) -> Image.Image:
    """Convert to RGB on white and shrink by an integer factor to slightly more than `box`.

    Returns a new image without metadata.
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

    if strip.mode.startswith("I"):  # 16 bits per pixel; `convert` would clip them at 255
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
    """The EXIF orientation from 1 to 8; 1 (upright) if it is absent or unreadable."""
    try:
        orientation = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # broken metadata does not invalidate the image
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


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
