"""Matches the name of an ingredient to a row of the catalogue. Pure functions.

Words are compared whole and in the singular: "egg" does not match "eggplant".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher

from cookcam.features.food.ingredients.models import Candidate, Phrase
from cookcam.features.food.ingredients.names import (
    ROW_IS_INVERTED,
    contains,
    forms,
    head,
    similarity,
    stems,
)
from cookcam.features.food.nutrition.models import Amounts, Match

MIN_SCORE = 0.6
MIN_SYNONYM_SCORE = 0.8
"""Synonyms with a lower score are ignored."""

_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "ripe tomato": ("tomatoes, red, ripe", "tomato, raw", "tomato"),
    "red onion": ("onions, red, raw", "onion, raw", "onion"),
    "white onion": ("onions, white, raw", "onion, raw", "onion"),
    "yellow onion": ("onions, yellow, raw", "onion, raw", "onion"),
    "olive oil": ("oil, olive", "olive oil"),
    "vegetable oil": ("oil, vegetable", "vegetable oil"),
    "coconut oil": ("oil, coconut", "coconut oil"),
    "avocado oil": ("oil, avocado", "avocado oil"),
    "fresh basil": ("basil, fresh", "basil"),
    "mozzarella": ("cheese, mozzarella", "mozzarella"),
    "balsamic vinegar": ("vinegar, balsamic", "balsamic vinegar"),
    "salt": ("salt, table", "salt"),
    "black pepper": ("spices, pepper, black", "pepper, black"),
    "chicken breast": ("chicken, breast", "chicken breast"),
    "garlic": ("garlic, raw", "garlic"),
    "butter": ("butter, salted", "butter"),
    "parmesan cheese": ("cheese, parmesan", "parmesan cheese"),
}
"""Common name → names in catalogues."""

_BONUS = 0.1
_MISSPELLED = 0.9
_FAMILIAR = ("chicken", "beef", "oil", "cheese", "tomato", "onion", "butter")
_PENALTIES: Mapping[str, tuple[float, frozenset[str]]] = {
    "oil": (0.6, frozenset({"fish", "sardine", "whale", "mayonnaise"})),
    "salt": (0.5, frozenset({"nut", "bean", "meat", "caramel", "gelato"})),
    "butter": (0.7, frozenset({"butterbur", "plant", "vegetable"})),
    "vinegar": (0.4, frozenset({"wine", "alcohol"})),
}

# Words about preparation, size or quality, which do not identify the food.
_DESCRIPTIVE = frozenset(
    {
        "boneless", "canned", "frozen", "salted", "skinless", "unsalted",
        "fresh", "freshly", "chopped", "diced", "sliced", "minced", "crushed", "grated",
        "shredded", "peeled", "cubed", "halved", "quartered", "trimmed", "rinsed", "drained",
        "softened", "melted", "cold", "warm", "hot", "boiling", "room", "temperature", "large",
        "medium", "small", "big", "thin", "thick", "thinly", "finely", "roughly", "coarsely",
        "ripe", "organic", "optional", "divided", "packed", "heaping", "level", "good", "quality",
        "to", "taste", "for", "serving", "garnish", "about", "plus", "more", "extra", "pitted",
        "seeded", "deseeded", "cored", "toasted", "beaten", "lightly"
    }
)  # fmt: skip
_PARTS = frozenset(
    {
        "clove", "leaf", "sprig", "stalk", "floret", "fillet", "filet", "wedge", "cube", "strip",
        "chunk", "piece", "head", "ear", "bunch", "slice", "pod", "stick", "rind", "half"
    }
)  # fmt: skip
_ALTERNATIVES = re.compile(r"\([^()]*\)|\bor\b.*$")


def normal_name(name: str) -> str:
    """The lookup form of a name: at most eight singular words without descriptive ones."""
    words = stems(_ALTERNATIVES.sub(" ", name[:200]))
    content = [word for word in words if word not in _DESCRIPTIVE and not word.isdigit()]
    while len(content) > 1 and content[-1] in _PARTS:
        content.pop()
    return " ".join((content or words)[-8:])


SYNONYMS: Mapping[str, tuple[str, ...]] = {
    normal_name(name): others for name, others in _SYNONYMS.items()
}
"""Normal name → names in catalogues."""


def phrases_of(normal: str) -> list[Phrase]:
    """Phrases to look up: the synonyms, the whole name, and its last two and one words."""
    words = normal.split()
    texts = [*synonyms_of(normal), normal]
    texts += [" ".join(words[-size:]) for size in (2, 1) if size < len(words)]
    phrases = (Phrase(tuple(forms(word) for word in dict.fromkeys(stems(text)))) for text in texts)
    return [phrase for phrase in dict.fromkeys(phrases) if phrase.words]


def best_match(normal: str, candidates: Iterable[Candidate]) -> Match | None:
    """The candidate with the highest score, the plainest of equals; None below MIN_SCORE.

    If no candidate reaches it, the name is matched again with its misspelled words corrected.
    """
    rows = list(candidates)
    synonyms = synonyms_of(normal)
    ranked = [(score(normal, synonyms, row.name), normal, row) for row in rows]
    if not any(points >= MIN_SCORE for points, _, _ in ranked):
        respelled = [(_respelled(normal, row.name), row) for row in rows]
        ranked = [
            (_MISSPELLED * score(name, synonyms_of(name), row.name), name, row)
            for name, row in respelled
        ]
    accepted = [entry for entry in ranked if entry[0] >= MIN_SCORE]
    if not accepted:
        return None
    points, _, row = max(accepted, key=lambda entry: (entry[0], *_plainness(*entry[1:])))
    return Match(
        row.id,
        row.name,
        points,
        Amounts(row.calories, row.protein, row.carbs, row.fat, row.fiber or 0.0, row.sodium),
    )


def synonyms_of(normal: str) -> tuple[str, ...]:
    """The synonyms of a name or of its last two words: "virgin olive oil" is an "olive oil"."""
    return SYNONYMS.get(normal) or SYNONYMS.get(" ".join(normal.split()[-2:])) or ()


def _respelled(normal: str, row: str) -> str:
    """The name with almost matching words replaced by the row's spelling."""
    row_words = stems(row)

    def spelled(word: str) -> str:
        if len(word) < 4 or word in row_words:
            return word
        near = [
            other for other in row_words if other[:1] == word[:1] and _ratio(word, other) >= 0.85
        ]
        return max(near, key=lambda other: _ratio(word, other), default=word)

    return " ".join(spelled(word) for word in normal.split())


def _ratio(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other, autojunk=False).ratio()


def score(normal: str, synonyms: Sequence[str], row: str) -> float:
    """The score from 0 to 1 of the name or of a synonym with MIN_SYNONYM_SCORE."""
    synonym_scores = [similarity(synonym, row) for synonym in synonyms]
    points = max(
        [
            similarity(normal, row),
            *(value for value in synonym_scores if value >= MIN_SYNONYM_SCORE),
        ]
    )
    name_words, row_words = set(stems(normal)), set(stems(row))
    if points < ROW_IS_INVERTED:  # below it only common words have counted
        bonus = _BONUS * sum(word in name_words and word in row_words for word in _FAMILIAR)
        points = min(points + bonus, ROW_IS_INVERTED)
    for word, (penalty, wrong) in _PENALTIES.items():
        if word in name_words and not name_words & wrong and row_words & wrong:
            # No penalty for a word that is in the name: "vinegar, red wine" for "red wine vinegar".
            points -= penalty
    return max(0.0, min(1.0, points))


def _plainness(normal: str, row: Candidate) -> tuple[bool, int, bool, bool, int, int]:
    """Sort key for equal scores: the row's head in the name, more common words, raw, not branded,
    fewer words."""
    name_words, row_words = stems(normal), stems(row.name)
    about = stems(head(row.name))
    return (
        contains(name_words, about),
        len(set(name_words) & set(row_words)),
        "raw" in row_words or "dry" in row_words,
        row.usda_data_type != "Branded",
        -len(row_words),
        -row.id,
    )
