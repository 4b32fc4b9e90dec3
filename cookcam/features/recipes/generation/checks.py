"""Checks the content of completions: titles, duplicates and disliked foods."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from attrs import frozen

from cookcam.features.recipes.generation.contracts import (
    MAX_TITLE_LENGTH,
    DetailedRecipe,
    DiverseRecipes,
    FullRecipe,
    GeneratedRecipe,
    Preview,
    Previews,
    Step,
    Suggestion,
    Suggestions,
    TaughtStep,
)

_NOT_FREE = r"(?![\s-]*free\b)"  # "nut-free" does not contain nuts


@frozen
class ContentCheck:
    """Rejects completions that contain a disliked food or have an unusable or repeated title.

    A food matches in singular and plural, as a whole word: "egg" matches "2 eggs" but not
    "eggplant" or "egg-free". Every method raises ValueError.
    """

    disliked: tuple[str, ...] = ()

    def reject_disliked(self, texts: Iterable[str]) -> None:
        """Raises ValueError when one of the texts names a disliked food."""
        spellings = {form for food in self.disliked if food.strip() for form in _spellings(food)}
        if not spellings:
            return
        pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, spellings))})(?!\w){_NOT_FREE}")
        for text in texts:
            if pattern.search(_normalized(text)):
                raise ValueError("a disliked ingredient")

    def check_suggestion(self, suggestion: Suggestion) -> None:
        _check_title(suggestion.title)
        self.reject_disliked((suggestion.title, suggestion.teaser))

    def check_suggestions(self, suggestions: Suggestions) -> None:
        for suggestion in suggestions.recipes:
            self.check_suggestion(suggestion)
        _check_distinct([suggestion.title for suggestion in suggestions.recipes])

    def check_full_recipe(self, recipe: FullRecipe) -> None:
        _check_title(recipe.title)
        self.reject_disliked(item.item for item in recipe.ingredients)
        for step in recipe.steps:
            self.check_step(step)

    def check_step(self, step: Step | TaughtStep) -> None:
        tip = step.pro_tip if isinstance(step, TaughtStep) else step.tips
        self.reject_disliked((step.instruction, tip or ""))

    def check_recipe(self, recipe: GeneratedRecipe) -> None:
        _check_title(recipe.title)
        self.reject_disliked([recipe.title, *recipe.used, *recipe.tips])
        self.reject_disliked([*(recipe.variations or ()), *(recipe.pairing or ())])
        for item in recipe.ingredients:
            self.reject_disliked((item.name, item.notes or ""))
        for step in recipe.instructions:
            self.check_step(step)

    def check_diverse_recipes(self, generated: DiverseRecipes) -> None:
        for recipe in generated.recipes:
            self.check_recipe(recipe)
        _check_distinct([recipe.title for recipe in generated.recipes])

    def check_preview(self, preview: Preview) -> None:
        _check_title(preview.title)
        self.reject_disliked([preview.title, *preview.ingredients])

    def check_previews(self, previews: Previews) -> None:
        for preview in previews.recipes:
            self.check_preview(preview)
        _check_distinct([preview.title for preview in previews.recipes])

    def check_detailed_recipe(self, recipe: DetailedRecipe) -> None:
        _check_title(recipe.title)
        self.reject_disliked([recipe.title, *recipe.tips])
        self.reject_disliked(item.name for item in recipe.ingredients)
        for step in recipe.instructions:
            self.check_step(step)


@frozen
class KnownTitles:
    """Titles that must not be offered again; compared without case, spacing and punctuation."""

    keys: frozenset[str]

    @classmethod
    def of(cls, titles: Iterable[str]) -> KnownTitles:
        return cls(frozenset(_title_key(title) for title in titles))

    def __contains__(self, title: str) -> bool:
        return _title_key(title) in self.keys

    def new_previews(self, previews: Sequence[Preview]) -> list[tuple[int, Preview]]:
        """The previews with new titles, each with its index in `previews`."""
        return [(n, preview) for n, preview in enumerate(previews) if preview.title not in self]


def _check_title(title: str) -> None:
    if not 1 <= len(title.strip()) <= MAX_TITLE_LENGTH:
        raise ValueError("an empty or too long title")


def _check_distinct(titles: Sequence[str]) -> None:
    if len({_title_key(title) for title in titles}) < len(titles):
        raise ValueError("the same title twice")


def _title_key(title: str) -> str:
    return " ".join(re.findall(r"\w+", title.casefold()))


def _normalized(text: str) -> str:
    return " ".join(text.casefold().split())


def _spellings(food: str) -> set[str]:
    """The singular and plural forms of a food name. May include forms that do not exist."""
    name = _normalized(food)
    singular = {name}
    if name.endswith("ies"):
        singular.add(name[:-3] + "y")
    if name.endswith("es"):
        singular.add(name[:-2])
    if name.endswith("s") and not name.endswith("ss"):
        singular.add(name[:-1])
    singular.discard("")  # from "s" and "es"; it would match everywhere
    plural = {form + ending for form in singular for ending in ("s", "es")}
    return singular | plural | {form[:-1] + "ies" for form in singular if form.endswith("y")}
