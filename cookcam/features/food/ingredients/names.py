"""How alike two names of foods are, by their words.

Words count whole, so an egg is no eggplant. USDA writes the head first and what qualifies it after
commas ("Chicken, broilers, breast"); people write the head last ("chicken breast").
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

EQUAL, ROW_CONTAINS, ROW_IS_INVERTED, ASKED_CONTAINS = 1.0, 0.95, 0.85, 0.9
"""Scores of `spec/http-api-core.md` §9.12, and one for names with the head first."""

_WORD = re.compile(r"[^\W_]+")
_PLURALS = (
    ("ies", "y"),
    ("oes", "o"),
    ("shes", "sh"),
    ("ches", "ch"),
    ("xes", "x"),
    ("sses", "ss"),
)
_IRREGULAR = {
    "leaves": "leaf",
    "loaves": "loaf",
    "halves": "half",
    "cookies": "cookie",
    "brownies": "brownie",
    "smoothies": "smoothie",
    "anchovies": "anchovy",
    "hummus": "hummus",
    "couscous": "couscous",
    "asparagus": "asparagus",
    "citrus": "citrus",
    "molasses": "molasses",
    "swiss": "swiss",
    "quiches": "quiche",
}


def stems(text: str) -> list[str]:
    """The words of a name in the singular, lower case, in order."""
    return [stem(word) for word in _WORD.findall(unicodedata.normalize("NFC", text).lower())]


def stem(word: str) -> str:
    """The singular of an English word; of another word, itself or something as constant."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) > 4:
        for plural, singular in _PLURALS:
            if word.endswith(plural):
                return word[: -len(plural)] + singular
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def forms(word: str) -> tuple[str, ...]:
    """How a word may be spelled in a catalogue: its singular and plurals."""
    singular = stem(word)
    plurals = [singular + "s"]
    if singular.endswith("y"):
        plurals.append(singular[:-1] + "ies")
    elif singular.endswith(("o", "sh", "ch", "x", "ss")):
        plurals.append(singular + "es")
    elif singular.endswith("f"):
        plurals.append(singular[:-1] + "ves")
    return tuple(dict.fromkeys((word, singular, *plurals)))


def head(name: str) -> str:
    """What a catalogue name is about: the part before the first comma or parenthesis."""
    return re.split(r"[,(]", name, maxsplit=1)[0]


def similarity(asked: str, row: str) -> float:
    """From 0 to 1: 1 for the same words, whatever their order; see the scores above."""
    mine, theirs = stems(asked), stems(row)
    if not mine or not theirs:
        return 0.0
    if sorted(mine) == sorted(theirs):
        return EQUAL
    if contains(theirs, mine):
        return ROW_CONTAINS
    if mine[-len(theirs) :] == theirs:  # the head of what people write is its end
        return ASKED_CONTAINS
    if set(stems(head(row))) <= set(mine) <= set(theirs):
        return ROW_IS_INVERTED
    long_mine = {word for word in mine if len(word) > 2}
    long_theirs = {word for word in theirs if len(word) > 2}
    union = long_mine | long_theirs
    return len(long_mine & long_theirs) / len(union) if union else 0.0


def contains(whole: Sequence[str], part: Sequence[str]) -> bool:
    """Whether the words of `part` stand next to each other, in order, in `whole`."""
    size = len(part)
    return any(list(whole[at : at + size]) == list(part) for at in range(len(whole) - size + 1))
