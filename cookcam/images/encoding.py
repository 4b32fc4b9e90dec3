"""Pictures as text: base64, bare or in a data URL, as the app sends them inside JSON."""

from __future__ import annotations

import binascii

from cookcam.images.errors import ImageTooLarge, InvalidImage

BASE64_PATTERN = r"^([dD][aA][tT][aA]:[^,]{0,180};[bB][aA][sS][eE]64,)?[A-Za-z0-9+/_\s-]+=*\s*$"
"""What `decode_base64` accepts, as far as an expression of JSON schema can say it."""

_LONGEST_PREFIX = 200
_TO_STANDARD = str.maketrans("-_", "+/")
_CHUNK = 256 * 1024
"""Characters decoded at a time: Python's lock is held meanwhile, and other tasks wait for it."""


def decode_base64(text: str, *, max_bytes: int = 10 * 1024 * 1024) -> bytes:
    """The bytes of `text`: base64 in either alphabet, padded or not, bare or in a data URL.

    The media type of a data URL is not believed; `Images.prepare` looks at the content.
    Raises InvalidImage for text that is no base64, ImageTooLarge for more than `max_bytes`
    (before anything is decoded). An empty text is no bytes.
    """
    if text[:5].lower() == "data:":
        head, comma, _ = text[:_LONGEST_PREFIX].partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise InvalidImage("The image is not a base64 data URL")
        text = text[len(head) + 1 :]
    # Line breaks are common in base64 text; they count little, so the bound is taken before.
    if len(text) > max_bytes * 3 // 2:
        raise ImageTooLarge()
    packed = "".join(text.split()).rstrip("=")
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
