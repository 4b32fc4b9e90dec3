"""Which food of the catalogue a name of an ingredient means.

Pure. Words count whole and in the singular: an egg is no eggplant, a ham no hamburger. Source of
the scores, bonuses, penalties and synonyms: `spec/http-api-core.md` §9.12.
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

ACCEPTED = 0.6
CERTAIN_ENOUGH = 0.8
"""A synonym that scores this much ends the search."""

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
"""What catalogues call a food."""

_BONUS = 0.1
_MISSPELLED = 0.9
_FAMILIAR = ("chicken", "beef", "oil", "cheese", "tomato", "onion", "butter")
_PENALTIES: Mapping[str, tuple[float, frozenset[str]]] = {
    "oil": (0.6, frozenset({"fish", "sardine", "whale", "mayonnaise"})),
    "salt": (0.5, frozenset({"nut", "bean", "meat", "caramel", "gelato"})),
    "butter": (0.7, frozenset({"butterbur", "plant", "vegetable"})),
    "vinegar": (0.4, frozenset({"wine", "alcohol"})),
}

# What says how a food was cut, sized or kept, and not which food it is.
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
_OTHERWISE = re.compile(r"\([^()]*\)|\bor\b.*$")


def normal_name(name: str) -> str:
    """A name as it is looked up: singular words, without how it was cut, at most eight."""
    words = stems(_OTHERWISE.sub(" ", name[:200]))
    kept = [word for word in words if word not in _DESCRIPTIVE and not word.isdigit()]
    while len(kept) > 1 and kept[-1] in _PARTS:
        kept.pop()
    return " ".join((kept or words)[-8:])


SYNONYMS: Mapping[str, tuple[str, ...]] = {
    normal_name(name): others for name, others in _SYNONYMS.items()
}
"""By normal name."""


def phrases_of(normal: str) -> list[Phrase]:
    """Words to look a normal name up by: its synonyms, all of it, and its last words, its head."""
    words = normal.split()
    texts = [*synonyms_of(normal), normal]
    texts += [" ".join(words[-size:]) for size in (2, 1) if size < len(words)]
    found = (Phrase(tuple(forms(word) for word in dict.fromkeys(stems(text)))) for text in texts)
    return [phrase for phrase in dict.fromkeys(found) if phrase.words]


def best_match(normal: str, candidates: Iterable[Candidate]) -> Match | None:
    """The candidate that scores highest, of equals the plainest; None below ACCEPTED.

    Where none is accepted, words that are nearly those of a row count as misspelled.
    """
    rows = list(candidates)
    synonyms = synonyms_of(normal)
    ranked = [(score(normal, synonyms, row.name), normal, row) for row in rows]
    if not any(points >= ACCEPTED for points, _, _ in ranked):
        respelled = [(_respelled(normal, row.name), row) for row in rows]
        ranked = [
            (_MISSPELLED * score(name, synonyms_of(name), row.name), name, row)
            for name, row in respelled
        ]
    accepted = [entry for entry in ranked if entry[0] >= ACCEPTED]
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
    """Those of a name, or of the two words it ends with: a virgin olive oil is an olive oil."""
    return SYNONYMS.get(normal) or SYNONYMS.get(" ".join(normal.split()[-2:])) or ()


def _respelled(normal: str, row: str) -> str:
    """The name with each word that the row only nearly has as the row spells it."""
    theirs = stems(row)

    def spelled(word: str) -> str:
        if len(word) < 4 or word in theirs:
            return word
        near = [other for other in theirs if other[:1] == word[:1] and _ratio(word, other) >= 0.85]
        return max(near, key=lambda other: _ratio(word, other), default=word)

    return " ".join(spelled(word) for word in normal.split())


def _ratio(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other, autojunk=False).ratio()


def score(normal: str, synonyms: Sequence[str], row: str) -> float:
    """0..1. A synonym counts where it is certain enough, with the same penalties."""
    known = [similarity(synonym, row) for synonym in synonyms]
    points = max([similarity(normal, row), *(value for value in known if value >= CERTAIN_ENOUGH)])
    mine, theirs = set(stems(normal)), set(stems(row))
    if points < ROW_IS_INVERTED:  # only words in common count below it
        bonus = _BONUS * sum(word in mine and word in theirs for word in _FAMILIAR)
        points = min(points + bonus, ROW_IS_INVERTED)
    for word, (penalty, wrong) in _PENALTIES.items():
        if word in mine and not mine & wrong and theirs & wrong:
            # "vinegar, red wine" for "red wine vinegar" is what was asked for.
            points -= penalty
    return max(0.0, min(1.0, points))


def _plainness(normal: str, row: Candidate) -> tuple[bool, int, bool, bool, int, int]:
    """What decides between equal scores: more of the name said, about the same thing, raw and
    generic, few words."""
    mine, theirs = stems(normal), stems(row.name)
    about = stems(head(row.name))
    return (
        contains(mine, about),
        len(set(mine) & set(theirs)),
        "raw" in theirs or "dry" in theirs,
        row.usda_data_type != "Branded",
        -len(theirs),
        -row.id,
    )
