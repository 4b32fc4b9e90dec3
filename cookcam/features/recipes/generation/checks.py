"""What an answer of the model must not say, whatever its shape: a second look before it is used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from attrs import frozen

from cookcam.features.recipes.generation.contracts import (
    MAX_TITLE_LENGTH,
    DetailedRecipe,
    FullRecipe,
    GeneratedRecipe,
    Menu,
    Preview,
    Previews,
    Step,
    Suggestion,
    Suggestions,
    TaughtStep,
)

_FREE = r"(?![\s-]*free\b)"  # as in "nut-free"


@frozen
class Taboo:
    """Foods that must not be in a dish: disliked ones, allergens.

    A word counts in singular and plural and only as a whole: "egg" is in "2 eggs" and not in
    "eggplant". "nut-free" names no nuts.
    """

    words: tuple[str, ...] = ()

    def forbid(self, texts: Iterable[str]) -> None:
        """Raises ValueError when one of the texts names one of the foods."""
        spellings = {one for word in self.words if word.strip() for one in _spellings(word)}
        if not spellings:
            return
        found = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, spellings))})(?!\w){_FREE}")
        for text in texts:
            if found.search(_plain(text)):
                raise ValueError("a disliked ingredient")

    def check_suggestion(self, suggestion: Suggestion) -> None:
        _title(suggestion.title)
        self.forbid((suggestion.title, suggestion.teaser))

    def check_suggestions(self, answer: Suggestions) -> None:
        for suggestion in answer.recipes:
            self.check_suggestion(suggestion)
        _different([suggestion.title for suggestion in answer.recipes])

    def check_full(self, recipe: FullRecipe) -> None:
        _title(recipe.title)
        self.forbid(item.item for item in recipe.ingredients)
        for step in recipe.steps:
            self.check_step(step)

    def check_step(self, step: Step | TaughtStep) -> None:
        more = step.pro_tip if isinstance(step, TaughtStep) else step.tips
        self.forbid((step.instruction, more or ""))

    def check_dish(self, recipe: GeneratedRecipe) -> None:
        _title(recipe.title)
        self.forbid([recipe.title, *recipe.used, *recipe.tips])
        self.forbid([*(recipe.variations or ()), *(recipe.pairing or ())])
        for item in recipe.ingredients:
            self.forbid((item.name, item.notes or ""))
        for step in recipe.instructions:
            self.check_step(step)

    def check_menu(self, menu: Menu) -> None:
        for recipe in menu.recipes:
            self.check_dish(recipe)
        _different([recipe.title for recipe in menu.recipes])

    def check_preview(self, preview: Preview) -> None:
        _title(preview.title)
        self.forbid([preview.title, *preview.ingredients])

    def check_previews(self, answer: Previews) -> None:
        for preview in answer.recipes:
            self.check_preview(preview)
        _different([preview.title for preview in answer.recipes])

    def check_detailed(self, recipe: DetailedRecipe) -> None:
        _title(recipe.title)
        self.forbid([recipe.title, *recipe.tips])
        self.forbid(item.name for item in recipe.ingredients)
        for step in recipe.instructions:
            self.check_step(step)


@frozen
class Shown:
    """Titles somebody has seen already and does not want again."""

    titles: frozenset[str]

    @classmethod
    def of(cls, titles: Iterable[str]) -> Shown:
        return cls(frozenset(_key(title) for title in titles))

    def fresh(self, previews: Sequence[Preview]) -> list[tuple[int, Preview]]:
        """Those not seen yet, with their places in the answer."""
        return [(n, preview) for n, preview in enumerate(previews) if not self.has(preview)]

    def has(self, preview: Preview) -> bool:
        return _key(preview.title) in self.titles


def _title(title: str) -> None:
    if not 1 <= len(title.strip()) <= MAX_TITLE_LENGTH:
        raise ValueError("a title that is none")


def _different(titles: Sequence[str]) -> None:
    if len({_key(title) for title in titles}) < len(titles):
        raise ValueError("the same dish twice")


def _key(title: str) -> str:
    return " ".join(re.findall(r"\w+", title.casefold()))


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _spellings(word: str) -> set[str]:
    """A word in singular and plural, whichever of them it is: more than English has, which harms
    nobody."""
    plain = _plain(word)
    singular = {plain}
    if plain.endswith("ies"):
        singular.add(plain[:-3] + "y")
    if plain.endswith("es"):
        singular.add(plain[:-2])
    if plain.endswith("s") and not plain.endswith("ss"):
        singular.add(plain[:-1])
    singular.discard("")  # of "s" and "es": it would be found everywhere
    plural = {one + ending for one in singular for ending in ("s", "es")}
    return singular | plural | {one[:-1] + "ies" for one in singular if one.endswith("y")}
