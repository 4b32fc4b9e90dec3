"""What a file says about itself: its format and its size in pixels, from the first bytes alone.

Read before any decoder sees the file, so that a few kilobytes that claim to be 30000 x 30000
pixels cost a few microseconds and no memory. Sources: the PNG specification (IHDR), RFC 9649
(WebP), ITU-T T.81 annex B (JPEG markers).
"""

from __future__ import annotations

import struct
from typing import Literal

from attrs import frozen

from cookcam.images.errors import InvalidImage, WrongImageType

Format = Literal["JPEG", "PNG", "WEBP"]

_FOREIGN = (
    b"GIF8",
    b"%PDF",
    b"BM",
    b"II*\x00",
    b"MM\x00*",
    b"8BPS",
    b"PK\x03\x04",
    b"\x00\x00\x01\x00",
    b"\xff\x0a",  # JPEG XL
    b"\x00\x00\x00\x0cJXL ",
)
"""How files begin that are something known, and not what is wanted."""

_SIZELESS = frozenset((0x01, *range(0xD0, 0xD9)))
"""JPEG markers without a length: TEM, RST0-7, SOI."""

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers that begin a frame (SOF0-15) and hold its size."""

MOST_SCANS = 100
"""A progressive JPEG has about ten. Each costs a pass over the whole picture, whatever its own
length: thousands of tiny ones are a bomb of processor time (libjpeg-turbo's "scan bomb")."""


@frozen
class Header:
    """The format of a file and the size it claims, in pixels, before any rotation."""

    format: Format
    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height


def measure(data: bytes) -> Header:
    """The header of `data`.

    Raises WrongImageType for a file of another known kind, InvalidImage for anything else that is
    no JPEG, PNG or WebP, or whose header is broken.
    """
    try:
        if data.startswith(b"\xff\xd8\xff"):
            header = _jpeg(data)
        elif data.startswith(b"\x89PNG\r\n\x1a\n"):
            header = _png(data)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            header = _webp(data)
        elif _is_foreign(data):
            raise WrongImageType()
        else:
            raise InvalidImage()
    except (struct.error, IndexError):
        raise InvalidImage() from None
    if header.width < 1 or header.height < 1:
        raise InvalidImage()
    return header


def _is_foreign(data: bytes) -> bool:
    if data.startswith(_FOREIGN) or data[4:8] == b"ftyp":  # HEIC, AVIF, MP4
        return True
    start = data[:256].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return start.startswith((b"<svg", b"<?xml", b"<!doctype", b"<html"))


def _png(data: bytes) -> Header:
    length, kind, width, height = struct.unpack_from(">I4sII", data, 8)
    if kind != b"IHDR" or length != 13:
        raise InvalidImage()
    return Header("PNG", width, height)


def _webp(data: bytes) -> Header:
    kind = data[12:16]
    if kind == b"VP8X":  # 24 bits each, less one
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        if len(data) < 30:
            raise InvalidImage()
    elif kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":  # 14 bits each
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    elif kind == b"VP8L" and data[20] == 0x2F:  # 14 bits each, less one
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        raise InvalidImage()
    return Header("WEBP", width, height)


def _jpeg(data: bytes) -> Header:
    # Inside compressed data 0xFF is always followed by 0x00 or a restart marker.
    if data.count(b"\xff\xda") > MOST_SCANS:
        raise InvalidImage()
    at = 2
    while True:
        if data[at] != 0xFF:
            raise InvalidImage()
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _SIZELESS:
            at += 2
        elif marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return Header("JPEG", width, height)
        elif marker in (0xD9, 0xDA):  # the end, or compressed data, before any frame
            raise InvalidImage()
        else:
            (length,) = struct.unpack_from(">H", data, at + 2)
            if length < 2:
                raise InvalidImage()
            at += 2 + length
