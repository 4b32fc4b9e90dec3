"""Text of an ingredient line in the characters that the grammar reads."""

from __future__ import annotations

import re
import unicodedata

from cookcam.features.food.nutrition.units import unit_of

MAX_LENGTH = 1000
"""Characters of a line that are read; the longest real ingredient lines have about 300."""


_SIGNS = str.maketrans(
    {
        "\u2044": "/", "\u2215": "/", "\u29f8": "/",
        "\u00d7": "x", "\u2715": "x", "\u2716": "x", "\u2a2f": "x", "\u22c5": "x",
        "\u2212": "-", "\u223c": "~", "\u301c": "~", "\u30fc": "-", "\u2043": "-",
        "\u2018": "'", "\u2019": "'", "\u02bc": "'", "\u2032": "'",
        "\u201c": '"', "\u201d": '"', "\u2033": '"',
        "\u066b": ".", "\u066c": ",",
        "[": "(", "]": ")", "{": "(", "}": ")",
    }
)  # fmt: skip
_SUPERSCRIPT_FRACTION = re.compile(
    "(?<=[0-9])(?=[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+[\u2044/])"
)
_PLURAL_IN_PARENTHESES = re.compile(r"(?<=[^\W\d_])\((e?s)\)", re.IGNORECASE)
_ZERO_WIDTH_SPACE_IN_LETTERS = re.compile(r"([^\W\d_]+)\u200b(?=[^\W\d_])")


def normalise(text: str) -> str:
    """`text` in the characters that the grammar knows, at most MAX_LENGTH of the original ones.

    NFKC, with a space before a fraction sign ("1½" is "1 1/2"); ASCII digits, dashes, slashes,
    quotes and spaces; no invisible characters (Unicode category Cf).
    """
    text = text[:MAX_LENGTH]
    text = _ZERO_WIDTH_SPACE_IN_LETTERS.sub(
        lambda word: word[1] + (" " if unit_of(word[1]) else ""), text
    )
    text = _SUPERSCRIPT_FRACTION.sub(" ", text)
    text = "".join(_plain_character(character) for character in text)
    text = unicodedata.normalize("NFKC", text).translate(_SIGNS)
    return _PLURAL_IN_PARENTHESES.sub(r"\1", text)


def _plain_character(character: str) -> str:
    if character.isascii():
        return " " if character.isspace() else character
    category = unicodedata.category(character)
    if category == "Cf":
        return ""
    if category == "Pd":
        return "~" if character == "\u301c" else "-"
    if category == "Nd":
        return str(unicodedata.digit(character))
    if unicodedata.decomposition(character).startswith("<fraction>"):
        fraction = unicodedata.normalize("NFKC", character)
        return f" {fraction}" if fraction.endswith("\u2044") else f" {fraction} "
    return " " if character.isspace() else character
