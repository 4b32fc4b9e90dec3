"""Decodes images sent as base64 text, bare or in a data URL."""

from __future__ import annotations

import binascii
import urllib.parse

from msgspec import Meta

from cookcam.images.errors import ImageTooLarge, InvalidImage

BASE64_IMAGE = Meta(
    description="JPEG, PNG, WebP, HEIC or AVIF up to 10 MB as base64, bare or a data URL.",
    extra_json_schema={
        "type": "string",
        "contentEncoding": "base64",
        "pattern": r"^([dD][aA][tT][aA]:[^,]{0,180};[bB][aA][sS][eE]64,)?[A-Za-z0-9+/_\s-]+=*\s*$",
    },
)
"""Documents a field with an image; `decode_base64` is stricter."""

_MAX_PREFIX_LENGTH = 200
_TO_STANDARD = str.maketrans("-_", "+/")
_MIN_LINE_LENGTH = 60
"""Characters. Base64 is wrapped at 64 (PEM, RFC 7468) or 76 (MIME, RFC 2045)."""
_CHUNK = 256 * 1024
"""Characters decoded at a time: decoding holds the GIL and blocks other tasks."""


def decode_base64(text: str, *, max_bytes: int = 10 * 1024 * 1024) -> bytes:
    """Decode `text`: base64 in either alphabet, padded or not, bare or in a data URL.

    White space around the text and line breaks inside it are ignored. `%2B` and a single space both
    stand for `+`, for text that passed through a URL or a form.

    The media type of a data URL is ignored; `Images.prepare` reads the type from the content.
    Raises InvalidImage for invalid base64, ImageTooLarge for more than `max_bytes`
    (before anything is decoded). An empty text decodes to no bytes.
    """
    # Line breaks add little to the length, so the limit is checked before they are removed.
    if len(text) > max_bytes * 3 // 2 + _MAX_PREFIX_LENGTH:
        raise ImageTooLarge()
    text = text.strip().removeprefix("\ufeff").lstrip()
    if text[:5].lower() == "data:":
        head, comma, _ = text[:_MAX_PREFIX_LENGTH].partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise InvalidImage("The image is not a base64 data URL")
        text = text[len(head) + 1 :]
    if "%" in text:  # a data URL may be percent-encoded (RFC 2397)
        text = urllib.parse.unquote(text, errors="replace")
    packed = _joined(text).rstrip("=")
    if "-" in packed or "_" in packed:
        packed = packed.translate(_TO_STANDARD)
    if len(packed) * 3 // 4 > max_bytes:
        raise ImageTooLarge()
    if "=" in packed:
        raise InvalidImage("The image is not valid base64")
    packed += "=" * (-len(packed) % 4)
    try:
        return b"".join(
            binascii.a2b_base64(packed[at : at + _CHUNK], strict_mode=True)
            for at in range(0, len(packed), _CHUNK)
        )
    except (binascii.Error, ValueError):
        raise InvalidImage("The image is not valid base64") from None


def _joined(text: str) -> str:
    """Remove the line breaks of `text`; a space inside a line is a `+` that a form decoded.

    Spaces count as line breaks if they divide the text into lines of equal length: a shell or a
    text field has replaced the line breaks of wrapped base64.
    """
    parts = text.split()
    if " " not in text or _is_wrapped(parts):
        return "".join(parts)
    lines = text.splitlines()
    if not _is_wrapped(lines):  # possibly indented
        lines = [line.strip() for line in lines]
    return "".join(lines).replace(" ", "+")


def _is_wrapped(lines: list[str]) -> bool:
    width = len(lines[0]) if len(lines) > 1 else 0
    return (
        width >= _MIN_LINE_LENGTH
        and width % 4 == 0
        and len(lines[-1]) <= width
        and all(len(line) == width for line in lines[:-1])
    )
