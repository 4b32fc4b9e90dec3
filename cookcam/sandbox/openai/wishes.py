"""What a prompt asks for, read from the JSON in it.

The stand-in does not know how the server words its prompts. It takes every JSON object it finds
and goes by the meaning of the keys; without any, by the foods the text names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, cast

from attrs import define, field

from cookcam.sandbox.openai.pantry import Contains, mentioned

_FORBIDDEN: dict[str, set[Contains]] = {
    "vegetarian": {"meat", "fish"},
    "vegan": {"meat", "fish", "egg", "dairy", "honey"},
    "gluten-free": {"gluten"},
    "dairy-free": {"dairy"},
    "nut-free": {"nut"},
    "pescatarian": {"meat"},
}
_NO_CHOICE = {"surprise_me", "surprise", "surprise me", "any", "none", "flexible"}
_BROAD = {"quick": 20, "medium": 35, "long": 60}


@define
class Wishes:
    ingredients: list[str] = field(factory=list[str])
    disliked: set[str] = field(factory=set[str])
    excluded_titles: set[str] = field(factory=set[str])
    diet: list[str] = field(factory=list[str])
    cuisines: list[str] = field(factory=list[str])
    servings: int = 2
    minutes: int | None = None
    title: str = ""
    theme: str = ""
    meal: str = ""

    @property
    def forbidden(self) -> set[Contains]:
        """What the diet rules out."""
        return {kind for tag in self.diet for kind in _FORBIDDEN.get(tag, set())}


def read_wishes(prompt: str) -> Wishes:
    wishes = Wishes()
    for found in _objects(prompt):
        _take(wishes, found)
    if not wishes.ingredients:
        wishes.ingredients = mentioned(prompt)
    wishes.ingredients = list(dict.fromkeys(wishes.ingredients))
    return wishes


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in a text, none inside another."""
    decoder = json.JSONDecoder()
    at = text.find("{")
    while at >= 0:
        try:
            found, end = decoder.raw_decode(text, at)
        except ValueError:
            end = at + 1
        else:
            yield found
        at = text.find("{", end)


def _take(wishes: Wishes, found: dict[str, Any]) -> None:
    for key, value in found.items():
        name = re.sub(r"[^a-z]", "", key.lower())
        if "dislik" in name or "avoid" in name or "allerg" in name:
            wishes.disliked.update(text.lower() for text in _texts(value))
        elif "staple" in name:
            continue
        elif "exclude" in name or "earlier" in name or "previous" in name:
            wishes.excluded_titles.update(text.lower() for text in _texts(value))
        elif "ingredient" in name:
            wishes.ingredients.extend(_texts(value))
        elif "diet" in name:
            tags = [text.lower().replace(" ", "-").replace("_", "-") for text in _texts(value)]
            wishes.diet.extend(tags)
        elif "cuisine" in name:
            asked = [text.lower() for text in _texts(value)]
            wishes.cuisines.extend(text for text in asked if text not in _NO_CHOICE)
        elif name in ("servingsize", "servings"):
            wishes.servings = _whole(value, wishes.servings)
        elif name in ("availabletime", "timeavailable", "estimatedtime", "maxminutes", "minutes"):
            known = _BROAD.get(value.lower()) if isinstance(value, str) else None
            wishes.minutes = known or _whole(value, 0) or wishes.minutes
        elif name == "theme" and isinstance(value, str):
            wishes.theme = value.strip()
        elif name in ("mealtype", "recipetype") and isinstance(value, str):
            wishes.meal = value.lower()
        elif name in ("selectedtitle", "title") and isinstance(value, str):
            wishes.title = value
        elif isinstance(value, dict):
            _take(wishes, cast("dict[str, Any]", value))


def _texts(value: object) -> list[str]:
    """The texts in a value: itself, its elements, or the names of its elements."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, list):
        return [text for inner in cast("list[object]", value) for text in _texts(inner)]
    if isinstance(value, dict):
        named = cast("dict[str, Any]", value)
        return _texts(named.get("name") or named.get("item") or [])
    return []


def _whole(value: object, otherwise: int) -> int:
    digits = re.search(r"\d{1,4}", value) if isinstance(value, str) else None
    if digits is not None:
        return int(digits.group())
    return int(value) if isinstance(value, (int, float)) and 0 < value < 10_000 else otherwise
