"""The one rule of text that people write for others to see."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cookcam.text import VISIBLE_PATTERN, clean_line, clean_prose, clean_values

INVISIBLE = [
    "\u200b", "\u200c", "\u200d", "\u200e", "\u200f", "\u202a", "\u202e", "\u2060", "\u2066",
    "\u2069", "\ufeff", "\u00ad", "\u034f", "\u061c", "\u115f", "\u1160", "\u180e", "\u2800",
    "\u3164", "\uffa0", "\ufe0f", "\x01", "\x7f", "\x85", "\u2028", "\u3000", "\U000e0041",
    "\U000e0101",
]  # fmt: skip
BIDI = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
REMOVED = BIDI | set("\u200b\u2060\ufeff\u00ad\u034f")

texts = st.text(
    st.sampled_from([*INVISIBLE, "a", "é", "e\u0301"[1], "ن", "क", "👩", "🍳", " ", "\n", "\t"])
    | st.characters(),
    max_size=30,
)


@pytest.mark.parametrize("character", INVISIBLE)
def test_text_of_invisible_characters_alone_is_blank(character: str) -> None:
    assert clean_line(character * 3) == clean_prose(character * 3) == ""
    assert re.search(VISIBLE_PATTERN, character) is None or ord(character) > 0xFFFF


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("\u202eAnn", "Ann"),
        ("A\u200bn\u200dn", "Ann"),
        ("  Ann \t Lee\r\n", "Ann Lee"),
        ("Ann\u3164\u3164", "Ann"),
        ("Jose\u0301", "José"),
        ("👩\u200d🍳 Kitchen", "👩\u200d🍳 Kitchen"),
        ("❤\ufe0f", "❤\ufe0f"),
        ("نمی\u200cدانم", "نمی\u200cدانم"),  # noqa: RUF001 - Persian
        ("क्\u200dष", "क्\u200dष"),  # Hindi
        ("مرحبا", "مرحبا"),
        ("日本 太郎", "日本 太郎"),
        ("O'Brien-Łukasz & co. <3", "O'Brien-Łukasz & co. <3"),
    ],
)
def test_line_is_cleaned(written: str, shown: str) -> None:
    assert clean_line(written) == shown


def test_prose_keeps_its_lines() -> None:
    assert clean_prose(" Cut.\r\nStir\u202e.\u2028\tServe. ") == "Cut.\nStir.\n\tServe."


@given(texts)
@example("e\u200d\u0301\u200d中")
@example("\u212a\u200d中")
def test_clean_text_is_stable_and_holds_no_forbidden_character(text: str) -> None:
    for clean in (clean_line, clean_prose):
        cleaned = clean(text)
        assert clean(cleaned) == cleaned
        assert not REMOVED & set(cleaned)
        assert cleaned == cleaned.strip()
        assert unicodedata.is_normalized("NFC", cleaned)
        assert len(cleaned) <= len(unicodedata.normalize("NFC", text))
        assert not cleaned or re.search(VISIBLE_PATTERN, cleaned)
    assert "\n" not in clean_line(text)


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=1))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert clean_line(text) == clean_prose(text) == text


def test_texts_inside_json_are_cleaned() -> None:
    value = {"name": "\u202eSalt", "steps": ["Stir\u200b", 1, None, {"a": True}]}
    assert clean_values(value) == {"name": "Salt", "steps": ["Stir", 1, None, {"a": True}]}
