"""Reads the format and the size in pixels from the first bytes of an image file.

This runs before any decoder, so that a small file that claims 30000 x 30000 pixels costs a few
microseconds and no memory. Sources: the PNG specification (IHDR), RFC 9649
(WebP), ITU-T T.81 annex B (JPEG markers). HEIC and AVIF are read by `heif.py`.
"""

from __future__ import annotations

import re
import struct
from typing import Literal, NoReturn

from attrs import frozen

from cookcam.images.errors import InvalidImage, WrongImageType
from cookcam.images.heif import measure_heif

Format = Literal["JPEG", "PNG", "WEBP", "HEIF", "AVIF"]

_OTHER_KINDS = {
    b"GIF8": "a GIF",
    b"%PDF": "a PDF",
    b"BM": "a BMP",
    b"II*\x00": "a TIFF or a raw photo",
    b"MM\x00*": "a TIFF or a raw photo",
    b"8BPS": "a Photoshop file",
    b"PK\x03\x04": "a ZIP archive",
    b"\x00\x00\x01\x00": "an icon",
    b"\xff\x0a": "a JPEG XL",
    b"\x00\x00\x00\x0cJXL ": "a JPEG XL",
    b"\x00\x00\x00\x0cjP  ": "a JPEG 2000",
    b"\xff\x4f\xff\x51": "a JPEG 2000",
    b"\x1aE\xdf\xa3": "a film (WebM or Matroska)",
}
"""The first bytes of file types that are recognized but not supported."""

_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""The next JPEG marker. Skips bytes that may precede it: fill bytes (0xFF), the bytes of compressed
data (0xFF is followed by 0x00 or a restart marker there), and stray bytes between segments, which
some cameras and editors write and decoders ignore (ITU-T T.81 B.1.1.2)."""

_SEARCH_WINDOW = 64 * 1024
"""Bytes searched for a marker at a time: the search holds the GIL. Also the largest number
of stray bytes between two segments of the header."""

_MAX_SEGMENTS = 10_000
"""Maximum segments of a JPEG header. 10 MiB of metadata in segments of 64 KiB are 160."""

_SIZELESS = frozenset((0x01, 0xD8))
"""JPEG markers without a length: TEM, SOI. Restart markers are skipped with compressed data."""

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers that begin a frame (SOF0-15) and hold its size."""

MAX_SCANS = 100
"""A progressive JPEG has about ten. Each scan costs a pass over the whole image, so thousands of
tiny ones exhaust the CPU (a "scan bomb" in libjpeg-turbo's terms)."""


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
    """Read the header of `data`.

    Raises WrongImageType for another recognized file type, InvalidImage for unrecognized data and
    for a broken header.
    """
    try:
        if data.startswith(b"\xff\xd8\xff"):
            header = _jpeg(data)
        elif data.startswith(b"\x89PNG\r\n\x1a\n"):
            header = _png(data)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            header = _webp(data)
        elif data[4:8] == b"ftyp":
            header = Header(*measure_heif(data))
        else:
            _raise_other_kind(data)
    except (struct.error, IndexError):
        raise InvalidImage() from None
    if header.width < 1 or header.height < 1:
        raise InvalidImage()
    return header


def _raise_other_kind(data: bytes) -> NoReturn:
    """Raises WrongImageType for a recognized file type, otherwise InvalidImage."""
    for start, kind in _OTHER_KINDS.items():
        if data.startswith(start):
            raise WrongImageType.of(kind)
    text = data[:256].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<svg"):
        raise WrongImageType.of("an SVG")
    if text.startswith((b"<?xml", b"<!doctype", b"<html")):
        raise WrongImageType.of("an HTML or XML page")
    raise InvalidImage()


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
    at = 2
    for _ in range(_MAX_SEGMENTS):
        match = _MARKER.search(data, at, at + _SEARCH_WINDOW)
        if match is None:
            break
        at, marker = match.start(), data[match.start() + 1]
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return Header("JPEG", width, height)
        if marker in (0xD9, 0xDA):  # the end, or compressed data, before any frame
            break
        at = _end_of_segment(data, at)
    raise InvalidImage()


def check_jpeg_scans(data: bytes) -> None:
    """Raises InvalidImage for a JPEG of more than MAX_SCANS scans. Blocks up to about a second.

    Data after the end-of-image marker is ignored, for example the video of a motion photo.
    """
    if data.count(b"\xff\xda") <= MAX_SCANS:
        return
    at, scans = 2, 0
    for _ in range(_MAX_SEGMENTS):
        match = _MARKER.search(data, at, at + _SEARCH_WINDOW)
        while match is None and at + _SEARCH_WINDOW < len(data):
            at += _SEARCH_WINDOW - 1  # a marker may lie across the edge of the window
            match = _MARKER.search(data, at, at + _SEARCH_WINDOW)
        if match is None or data[match.start() + 1] == 0xD9:
            return
        scans += data[match.start() + 1] == 0xDA
        if scans > MAX_SCANS:
            break
        try:
            at = _end_of_segment(data, match.start())
        except struct.error:  # truncated
            return
    raise InvalidImage()


def _end_of_segment(data: bytes, at: int) -> int:
    """The offset after the segment whose marker is at `at`. Raises InvalidImage, struct.error."""
    if data[at + 1] in _SIZELESS:
        return at + 2
    (length,) = struct.unpack_from(">H", data, at + 2)
    if length < 2:
        raise InvalidImage()
    return at + 2 + length
