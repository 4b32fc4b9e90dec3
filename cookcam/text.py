"""Text that people write for others to see: one rule for names, titles, comments and messages.

Invisible characters make two equal-looking names differ, and bidirectional controls make text read
as something it is not (Unicode Technical Report 36, sections 2.5 and 2.11.1). They are removed;
text of which nothing visible is left is blank. Letters, marks, emoji and their joiners stay.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Final, cast

_REMOVED = re.compile(
    "["
    "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"  # controls but white space
    "\xad\u034f\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff0-\ufffb"  # zero width
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional controls
    "\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"  # tags
    "]"
)
_BLANK_LETTERS = re.compile("[\u115f\u1160\u2800\u3164\uffa0]")
"""Letters and symbols without ink."""
_LINE_BREAKS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_SPACES = re.compile(r"\s+")

_JOINABLE = "[^\x00-\u02ff\\s\u2000-\u206f]"
_JOINERS = re.compile(f"(?<!{_JOINABLE})[\u200c\u200d]|[\u200c\u200d](?!{_JOINABLE})")
"""Joiners that join nothing. They belong between emoji and in scripts such as Persian and Hindi;
between Latin letters or at an edge they are only invisible."""

VISIBLE_PATTERN: Final = (
    r"[^\s\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    r"\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb]"
)
"""A regular expression (ECMA-262 and Python) of one visible character, for JSON schemas."""
_VISIBLE = re.compile(VISIBLE_PATTERN)
_SUPPLEMENTARY_SELECTORS = re.compile("[\U000e0100-\U000e01ef]")


def clean_line(text: str) -> str:
    """A name or title: one line, NFC, without edge spaces; "" when nothing in it is visible."""
    return _clean(text, one_line=True)


def clean_prose(text: str) -> str:
    """A comment or description: as `clean_line`, with its line breaks and tabs."""
    return _clean(text, one_line=False)


def clean_values(value: Any) -> Any:
    """JSON whose texts are clean prose; keys stay. The JSON parser limits its depth."""
    if isinstance(value, str):
        return clean_prose(value)
    if isinstance(value, list):
        return [clean_values(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {key: clean_values(item) for key, item in cast("dict[str, Any]", value).items()}
    return value


def _clean(text: str, *, one_line: bool) -> str:
    if text.isascii() and text.isprintable():
        return _SPACES.sub(" ", text).strip() if one_line else text.strip()
    previous = None
    while text != previous:  # composing may leave a joiner beside a Latin letter
        previous = text
        text = _BLANK_LETTERS.sub(" ", _REMOVED.sub("", text))
        text = _SPACES.sub(" ", text) if one_line else _LINE_BREAKS.sub("\n", text)
        text = unicodedata.normalize("NFC", _JOINERS.sub("", text)).strip()
    return text if _VISIBLE.search(_SUPPLEMENTARY_SELECTORS.sub("", text)) else ""
