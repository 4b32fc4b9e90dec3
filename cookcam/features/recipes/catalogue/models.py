"""Recipes: stored rows, their JSON, list queries and content to write."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, NotRequired, TypedDict, cast
from uuid import UUID

from attrs import frozen

Difficulty = Literal["easy", "medium", "hard"]

DIFFICULTIES: dict[str, Difficulty] = {
    "easy": "easy",
    "beginner": "easy",
    "medium": "medium",
    "intermediate": "medium",
    "hard": "hard",
    "advanced": "hard",
}
"""The spellings that clients send, and the stored spelling of each."""


class RecipeIngredient(TypedDict):
    """An ingredient of a recipe. Older generated recipes have `item` and `quantity` in place of
    `name` and `amount`; an author may add other keys."""

    name: NotRequired[str | None]
    item: NotRequired[str | None]
    amount: NotRequired[str | float | None]
    quantity: NotRequired[str | float | None]
    unit: NotRequired[str | None]
    notes: NotRequired[str | None]
    source: NotRequired[str | None]
    fromPantry: NotRequired[bool | None]


class RecipeStep(TypedDict):
    """A step of a recipe. `time` is in minutes where it is a number; an author may add other
    keys."""

    instruction: str
    step: NotRequired[str | float | None]
    order: NotRequired[str | float | None]
    time: NotRequired[str | float | None]
    temperature: NotRequired[str | float | None]
    tips: NotRequired[str | list[str] | None]
    technique: NotRequired[str | None]
    equipment: NotRequired[str | list[str] | None]
    safety: NotRequired[str | None]
    proTip: NotRequired[str | None]


@frozen
class Recipe:
    """A row of `recipes` with its linked ingredients. Times in minutes."""

    id: UUID
    title: str
    description: str | None
    cuisine: str | None
    image_url: str | None
    prep_time: int | None
    cook_time: int | None
    difficulty: str | None
    servings: int | None
    ingredients: list[Any]
    instructions: list[str]
    tags: list[str]
    nutrition: dict[str, Any] | None
    ai_metadata: dict[str, Any] | None
    created_by: UUID | None
    is_generated: bool
    is_published: bool
    is_featured: bool
    view_count: int
    saves_count: int
    rating_avg: float
    rating_count: int
    trending_score: float
    created_at: datetime
    updated_at: datetime
    recipe_ingredients: list[dict[str, Any]]

    @property
    def steps(self) -> list[Any]:
        """The detailed steps where they are stored, otherwise the instructions' texts."""
        steps: object = (self.ai_metadata or {}).get("steps")
        detailed = cast("list[Any]", steps) if isinstance(steps, list) else []
        return detailed or list(self.instructions)


@frozen
class RecipeJson:
    """A recipe for one reader, as the JSON object that responses show."""

    json: str
    is_published: bool


@frozen
class RecipeQuery:
    """Filter and order of a list: by relevance with `search`, by trend, or newest first."""

    author: UUID | None = None
    search: str | None = None
    trending: bool = False
    tags: tuple[str, ...] = ()
    difficulty: Difficulty | None = None
    limit: int = 20
    offset: int = 0


@frozen
class RecipeContent:
    """Content that an author writes. None means the default on creation, unchanged on update.

    `steps` are instructions with times and temperatures; `instructions` are their texts only.
    """

    title: str | None = None
    description: str | None = None
    cuisine: str | None = None
    prep_time: int | None = None
    cook_time: int | None = None
    difficulty: Difficulty | None = None
    servings: int | None = None
    ingredients: list[Any] | None = None
    instructions: list[str] | None = None
    steps: list[Any] | None = None
    tags: list[str] | None = None
    nutrition: dict[str, Any] | None = None
    is_published: bool | None = None

    @property
    def is_empty(self) -> bool:
        return self == RecipeContent()


@frozen
class GeneratedContent:
    """A recipe written by the model. Only the author can read its `metadata`."""

    content: RecipeContent
    metadata: dict[str, Any]
