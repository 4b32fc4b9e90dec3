"""Similarity of food names, by whole words: "egg" does not match "eggplant".

USDA writes the head first and its qualifiers after commas ("Chicken, broilers, breast"); people
write the head last ("chicken breast").
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

EQUAL, ROW_CONTAINS, ROW_IS_INVERTED, NAME_CONTAINS = 1.0, 0.95, 0.85, 0.9
"""Scores: same words; the row contains the name; same words with the head first; the name ends with
the row."""

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
    """The words of a name, in lower case and singular, in order."""
    return [stem(word) for word in _WORD.findall(unicodedata.normalize("NFC", text).lower())]


def stem(word: str) -> str:
    """The singular of an English word. Words of other languages map to some constant form."""
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
    """The singular and plural forms of a word."""
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
    """The head of a catalogue name: the part before the first comma or parenthesis."""
    return re.split(r"[,(]", name, maxsplit=1)[0]


def similarity(name: str, row: str) -> float:
    """Similarity of a name and a row's name from 0 to 1; word order does not matter for 1."""
    name_words, row_words = stems(name), stems(row)
    if not name_words or not row_words:
        return 0.0
    if sorted(name_words) == sorted(row_words):
        return EQUAL
    if contains(row_words, name_words):
        return ROW_CONTAINS
    if name_words[-len(row_words) :] == row_words:  # the head of a written name is its end
        return NAME_CONTAINS
    if set(stems(head(row))) <= set(name_words) <= set(row_words):
        return ROW_IS_INVERTED
    long_name_words = {word for word in name_words if len(word) > 2}
    long_row_words = {word for word in row_words if len(word) > 2}
    union = long_name_words | long_row_words
    return len(long_name_words & long_row_words) / len(union) if union else 0.0


def contains(whole: Sequence[str], part: Sequence[str]) -> bool:
    """Whether `whole` contains the words of `part` consecutively and in order."""
    size = len(part)
    return any(list(whole[at : at + size]) == list(part) for at in range(len(whole) - size + 1))
