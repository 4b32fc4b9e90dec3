"""Pictures for tests, made here: what cameras, tools and attackers send."""

from __future__ import annotations

import io
import random
import struct
import zlib
from typing import Any

import pillow_heif
from PIL import Image

pillow_heif.register_heif_opener()  # here, to encode


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def plain(width: int = 64, height: int = 48, kind: str = "JPEG", color: Any = "red") -> bytes:
    return encoded(Image.new("RGB", (width, height), color), kind)


def opened(jpeg: bytes) -> Image.Image:
    """A prepared picture, with what every one of them has asserted."""
    picture = Image.open(io.BytesIO(jpeg))
    picture.load()
    assert picture.format == "JPEG"
    assert picture.mode == "RGB"
    assert not picture.getexif()
    assert set(picture.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    return picture


def near(pixel: Any, wanted: tuple[int, int, int]) -> bool:
    return all(abs(a - b) <= 12 for a, b in zip(pixel, wanted, strict=True))


def png_chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png_of(width: int, height: int, compressed: bytes) -> bytes:
    """A PNG of 8-bit RGB whose header says what it likes."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", head)
        + png_chunk(b"IDAT", compressed)
        + png_chunk(b"IEND", b"")
    )


def png_bomb(side: int = 30_000) -> bytes:
    """30000 x 30000 pixels, 2.7 GB when decoded, in some kilobytes."""
    packer = zlib.compressobj(9)
    row = b"\0" * (1 + side * 3)
    packed = b"".join(packer.compress(row) for _ in range(40))
    return png_of(side, side, packed + packer.flush())


def jpeg_claiming(width: int, height: int) -> bytes:
    data = plain(16, 16)
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def webp_claiming(width: int, height: int) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + sides
    return b"RIFF" + struct.pack("<I", len(body)) + body


def animation(kind: str) -> bytes:
    frames = [Image.new("RGB", (40, 30), color) for color in ("red", "lime", "blue")]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)


def photograph(width: int = 120, height: int = 80, **options: Any) -> bytes:
    """A JPEG with some detail in it, red on the left and blue on the right."""
    picture = Image.merge(
        "RGB",
        (
            Image.linear_gradient("L").rotate(90).resize((width, height)),
            Image.radial_gradient("L").resize((width, height)).point(lambda value: value // 4),
            Image.linear_gradient("L").rotate(270).resize((width, height)),
        ),
    )
    return encoded(picture, "JPEG", **options)


def motion_photo() -> bytes:
    """A JPEG with 8 MB of film behind its end-of-image marker, as phones store it."""
    film = b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + random.Random(1).randbytes(8_000_000)
    assert film.count(b"\xff\xda") > 100
    return photograph(quality=90) + film


def with_stray_bytes(jpeg: bytes) -> bytes:
    """`jpeg` with bytes that belong to nothing in front of each segment of its header."""
    out, at = jpeg[:2], 2
    while jpeg[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4])
        out += jpeg[at:end] + b"\0\x12\xff\0stray\xff\xff"
        at = end
    return out + jpeg[at:]


def png_with_text(length: int = 1_000_000) -> bytes:
    """A PNG with `length` characters in each of the three kinds of text, and a large profile."""
    text = b"Comment\0" + b"x" * length
    packed = zlib.compress(b"x" * (length + 100_000))
    first, rest = plain(64, 48, "PNG")[:33], plain(64, 48, "PNG")[33:]
    return (
        first
        + png_chunk(b"tEXt", text)
        + png_chunk(b"zTXt", b"Comment\0\0" + packed)
        + png_chunk(b"iTXt", b"Comment\0\1\0en\0\0" + packed)
        + png_chunk(b"iCCP", b"profile\0\0" + packed)
        + rest
    )


def heic_with_sizes(heic: bytes, old: tuple[int, int], new: tuple[int, int]) -> bytes:
    """`heic` (or an AVIF), whose declared size (`ispe`) is changed and nothing else."""
    box = struct.pack(">4sI", b"ispe", 0)
    changed = heic.replace(box + struct.pack(">II", *old), box + struct.pack(">II", *new))
    assert changed != heic
    return changed


def heic_of_one_tile_many_times(times: int) -> bytes:
    """A HEIC grid of 64 x 64 that refers to its first tile `times` times more than it needs."""
    heic = encoded(Image.new("RGB", (128, 64), "red"), "HEIF", tile_size=64)
    at = heic.index(b"dimg")  # uint32 size, "dimg", uint16 source, uint16 count, uint16 tiles...
    source, count, tile = struct.unpack_from(">HHH", heic, at + 4)
    more = struct.pack(">H", tile) * times
    grown = bytearray(heic[: at + 8] + more + heic[at + 8 :])
    struct.pack_into(">HH", grown, at + 4, source, count + times)
    for kind in (b"dimg", b"iref", b"meta"):
        start = heic.index(kind) - 4
        (size,) = struct.unpack_from(">I", heic, start)
        struct.pack_into(">I", grown, start, size + len(more))
    return bytes(grown)
