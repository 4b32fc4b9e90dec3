"""Request bodies and queries of the recipe routes.

Values are never truncated or altered: a value beyond its limit is a 400 that names its field.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, cast
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from cookcam.features.literals import rejected_field, visible_line
from cookcam.features.recipes.catalogue.models import (
    DIFFICULTIES,
    Difficulty,
    RecipeContent,
    RecipeIngredient,
    RecipeQuery,
    RecipeStep,
)
from cookcam.http import DOCUMENTED_AS_REQUIRED
from cookcam.text import VISIBLE_PATTERN, clean_line, clean_prose, clean_values

MIN_TITLE_LENGTH, MAX_TITLE_LENGTH = 3, 200
MAX_INGREDIENTS, MAX_STEPS = 100, 100
MAX_ITEM_LENGTH = 2000

TRENDING = "trending"
"""This search text selects an order instead of filtering."""

Minutes = Annotated[int, Meta(ge=0, le=10_080, description="minutes, at most a week")]
Tag = Annotated[
    str,
    Meta(min_length=1, max_length=50, extra_json_schema={"pattern": VISIBLE_PATTERN}),
]


TITLE_PATTERN = (
    rf"{VISIBLE_PATTERN}[\s\S]*(?:[ \t\n\u00a0\u3000]|{VISIBLE_PATTERN})[\s\S]*{VISIBLE_PATTERN}"
)
"""At least three characters that remain after cleaning; the first and the last are visible."""
_TEXT = {"type": "string", "pattern": VISIBLE_PATTERN, "maxLength": MAX_ITEM_LENGTH}
_OPTIONAL_TEXT = {"type": ["string", "null"]}
_AMOUNT = {"type": ["string", "number", "null"]}
_TEXT_OR_TEXTS = {"type": ["string", "array", "null"], "items": {"type": "string"}}
_INGREDIENT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": _OPTIONAL_TEXT,
        "item": _OPTIONAL_TEXT,
        "amount": _AMOUNT,
        "quantity": _AMOUNT,
        "unit": _OPTIONAL_TEXT,
        "notes": _OPTIONAL_TEXT,
        "source": _OPTIONAL_TEXT,
        "fromPantry": {"type": ["boolean", "null"]},
    },
}
_STEP: dict[str, Any] = {
    "properties": {
        "instruction": _TEXT,
        "step": _AMOUNT,
        "order": _AMOUNT,
        "time": _AMOUNT,
        "temperature": _AMOUNT,
        "tips": _TEXT_OR_TEXTS,
        "technique": _OPTIONAL_TEXT,
        "equipment": _TEXT_OR_TEXTS,
        "safety": _OPTIONAL_TEXT,
        "proTip": _OPTIONAL_TEXT,
    },
    "required": ["instruction"],
}
Item = (
    Annotated[str, Meta(extra_json_schema=_TEXT)]
    | Annotated[dict[str, Any], Meta(extra_json_schema=_STEP)]
)
_TITLE = {"minLength": MIN_TITLE_LENGTH, "maxLength": MAX_TITLE_LENGTH, "pattern": TITLE_PATTERN}
Title = Annotated[str, Meta(extra_json_schema=_TITLE)]


class RecipeRequest(Struct, kw_only=True):
    """The content of a recipe. Every field may be absent or null."""

    title: Title | None = None
    description: Annotated[str, Meta(max_length=5000)] | None = None
    cuisine: Annotated[str, Meta(max_length=100)] | None = None
    prep_time: Minutes | None = None
    cook_time: Minutes | None = None
    difficulty: Annotated[str, Meta(extra_json_schema={"enum": list(DIFFICULTIES)})] | None = None
    servings: Annotated[int, Meta(ge=1, le=100)] | None = None
    ingredients: Annotated[
        Any,
        Meta(
            description="Texts, or objects such as {name, amount, unit}.",
            extra_json_schema={
                "type": "array",
                "maxItems": MAX_INGREDIENTS,
                "items": {"anyOf": [_TEXT, _INGREDIENT]},
            },
        ),
    ] = None
    instructions: (
        Annotated[
            list[Item],
            Meta(
                max_length=MAX_STEPS,
                description="Texts, or objects {instruction, step?, time?, temperature?, tips?}.",
            ),
        ]
        | None
    ) = None
    tags: Annotated[list[Tag], Meta(max_length=50)] | None = None
    nutrition: Annotated[dict[str, int | float], Meta(max_length=50)] | None = None
    is_published: bool | None = None

    def content(self) -> RecipeContent:
        """The validated content. Raises ValidationError."""
        instructions, steps = _instructions(self.instructions)
        return RecipeContent(
            title=None if self.title is None else checked_title(self.title),
            description=None if self.description is None else clean_prose(self.description),
            cuisine=None if self.cuisine is None else clean_line(self.cuisine),
            prep_time=self.prep_time,
            cook_time=self.cook_time,
            difficulty=None if self.difficulty is None else checked_difficulty(self.difficulty),
            servings=self.servings,
            ingredients=_ingredients(self.ingredients),
            instructions=instructions,
            steps=steps,
            tags=None if self.tags is None else [visible_line(tag, "tags") for tag in self.tags],
            nutrition=self.nutrition,
            is_published=self.is_published,
        )


class NewRecipeRequest(RecipeRequest, kw_only=True):
    """The content of a new recipe; the title is required."""

    title: Annotated[Title | None, DOCUMENTED_AS_REQUIRED] = None

    def content(self) -> RecipeContent:
        """The validated content. Raises ValidationError."""
        checked_title(self.title or "")
        return super().content()


class RecipeFilter(Struct):
    """The query of a list. Empty values count as absent; `tags` are comma-separated or repeated."""

    user_id: Annotated[
        str, Meta(extra_json_schema={"anyOf": [{"format": "uuid"}, {"maxLength": 0}]})
    ] = ""
    search: Annotated[str, Meta(max_length=200)] = ""
    tags: str | list[str] = ""
    difficulty: Annotated[str, Meta(extra_json_schema={"enum": ["", "any", *DIFFICULTIES]})] = ""

    def query(self, *, limit: int, offset: int) -> RecipeQuery:
        """Raises ValidationError."""
        search = self.search.strip()
        trending = search.lower() == TRENDING
        return RecipeQuery(
            author=_author(self.user_id),
            search=None if trending else search or None,
            trending=trending,
            tags=_tags(self.tags),
            difficulty=None
            if self.difficulty.lower() in ("", "any")
            else checked_difficulty(self.difficulty),
            limit=limit,
            offset=offset,
        )


def checked_title(title: str) -> str:
    """The cleaned title. Raises ValidationError."""
    cleaned = clean_line(title)
    if len(cleaned) < MIN_TITLE_LENGTH or not re.search(TITLE_PATTERN, title):
        raise rejected_field(f"Title must be at least {MIN_TITLE_LENGTH} characters", "title")
    if len(title) > MAX_TITLE_LENGTH:
        raise rejected_field(f"Title must be at most {MAX_TITLE_LENGTH} characters", "title")
    return cleaned


def checked_difficulty(text: str) -> Difficulty:
    """The stored spelling of a difficulty. Raises ValidationError."""
    difficulty = DIFFICULTIES.get(text.strip().lower())
    if difficulty is None:
        raise rejected_field("Difficulty must be easy, medium or hard", "difficulty")
    return difficulty


def _ingredients(value: object) -> list[Any] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise rejected_field("Ingredients must be an array", "ingredients")
    items = cast("list[object]", value)
    if len(items) > MAX_INGREDIENTS:
        raise rejected_field(f"Too many ingredients (max {MAX_INGREDIENTS})", "ingredients")
    for item in items:
        accepted = _is_text(item) if isinstance(item, str) else _has_type(item, RecipeIngredient)
        if not accepted:
            raise rejected_field("Each ingredient must be a text or an object", "ingredients")
    return [clean_values(item) for item in items]


def _instructions(items: list[Item] | None) -> tuple[list[str] | None, list[Any] | None]:
    """The texts of the instructions, and the detailed steps if any item is an object."""
    if items is None:
        return None, None
    texts: list[str] = []
    for item in items:
        text: object = item.get("instruction") if isinstance(item, dict) else item
        if not isinstance(text, str) or not _is_text(text):
            raise rejected_field("Each instruction must be a text or have one", "instructions")
        if isinstance(item, dict) and not _has_type(item, RecipeStep):
            raise rejected_field("Each field of an instruction must have its type", "instructions")
        texts.append(clean_prose(text))
    steps = [clean_values(item) for item in items]
    return texts, steps if any(isinstance(item, dict) for item in items) else None


def _has_type(item: object, model: type[Any]) -> bool:
    """Whether the keys of `item` that responses declare have the declared types."""
    try:
        msgspec.convert(item, model)
    except msgspec.ValidationError:
        return False
    return True


def _is_text(text: str) -> bool:
    return bool(clean_prose(text)) and len(text) <= MAX_ITEM_LENGTH


def _author(text: str) -> UUID | None:
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise rejected_field("Invalid user_id parameter", "user_id") from None


def _tags(value: str | list[str]) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    tags = [tag.strip() for text in texts for tag in text.split(",")]
    return tuple(tag for tag in tags if tag)
