"""The rules of recipes: visibility, authorship, caching."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
import structlog
import trio
from attrs import asdict, evolve, frozen

from cookcam.cache import HOUR, SHORT, Cache
from cookcam.database import Transaction
from cookcam.errors import AppError, NotFound
from cookcam.features.accounts.service import Profiles
from cookcam.features.recipes.catalogue.models import (
    GeneratedContent,
    Recipe,
    RecipeContent,
    RecipeQuery,
    RecipeView,
)
from cookcam.features.recipes.catalogue.store import RecipeJson, RecipeStore
from cookcam.identity import Identity

LISTS, VIEWED = "recipes:list", "recipes:viewed"
"""Cache namespaces."""

COUNT_TIMEOUT = 1.0
"""Maximum seconds a reader waits for the view counter, whose row may be locked."""


def recipe_not_found() -> NotFound:
    return NotFound("Recipe not found", error="Recipe not found")


@frozen
class Recipes:
    """Everyone can read published recipes; authors can also read and write their own.

    Row policies enforce this in PostgreSQL. The checks here select the right error.

    Lists and details are JSON, built by PostgreSQL. The number of published recipes in a list is
    cached for five minutes, or until a recipe is written: counting takes time for every row.
    """

    store: RecipeStore
    profiles: Profiles
    cache: Cache

    async def page(self, reader: Identity | None, query: RecipeQuery) -> tuple[str, int]:
        """A slice of the recipes that the reader may see, as a JSON array, and the number of
        recipes in the whole list."""
        listed = await self.store.page(reader, query)
        return listed.recipes, listed.drafts + await self._published(query)

    async def get_json(self, reader: Identity | None, recipe_id: UUID) -> RecipeJson:
        """Raises NotFound when there is no such recipe that the reader may see."""
        recipe = await self.store.find_json(reader, recipe_id)
        if recipe is None:
            raise recipe_not_found()
        return recipe

    async def get(self, reader: Identity, recipe_id: UUID) -> RecipeView:
        """The recipe with its author's card. Raises NotFound as `get_json` does."""
        return await self._view(reader, await self.require(reader, recipe_id))

    async def require(self, reader: Identity | None, recipe_id: UUID) -> Recipe:
        """The row without the author's card. Raises NotFound as `get_json` does."""
        recipe = await self.store.find(reader, recipe_id)
        if recipe is None:
            raise recipe_not_found()
        return recipe

    async def count_view(self, recipe_id: UUID, viewer: str) -> None:
        """Count a view of a published recipe, once per viewer and hour.

        `viewer` is a user's id or a guest's address. Failures are logged, not raised.
        """

        async def count() -> bool:
            await self.store.count_view(recipe_id)
            return True

        key = hashlib.sha256(f"{viewer}|{recipe_id}".encode()).hexdigest()
        with trio.move_on_after(COUNT_TIMEOUT):
            try:
                await self.cache.get_or(VIEWED, key, HOUR, count)
            except AppError as error:
                structlog.get_logger(__name__).info("view not counted", code=error.code)

    async def add(self, author: Identity, content: RecipeContent) -> RecipeView:
        """Raises DuplicateEntry when the author has a recipe of that title, ignoring case."""
        recipe = await self.store.add(author, content)
        if recipe.is_published:
            await self.cache.drop_all(LISTS)
        return await self._view(author, recipe)

    async def add_generated(
        self, tx: Transaction, author: Identity, recipes: Sequence[GeneratedContent]
    ) -> list[Recipe]:
        """Store generated recipes in the caller's transaction, in their order."""
        return await self.store.add_generated(tx, author, recipes)

    async def find_generated(
        self, tx: Transaction, author: Identity, metadata: dict[str, Any]
    ) -> Recipe | None:
        """The author's first generated recipe whose metadata contains `metadata`."""
        return await self.store.find_generated(tx, author, metadata)

    async def views(self, reader: Identity, recipes: list[Recipe]) -> list[RecipeView]:
        """The recipes with their authors' cards and the reader's favourites."""
        cards = await self.profiles.cards(
            recipe.created_by for recipe in recipes if recipe.created_by is not None
        )
        favorites = await self.store.favorites(reader, [recipe.id for recipe in recipes])
        return [
            RecipeView(
                recipe,
                creator=cards.get(recipe.created_by) if recipe.created_by else None,
                own=recipe.created_by == reader.user_id,
                favorited=recipe.id in favorites,
            )
            for recipe in recipes
        ]

    async def change(self, writer: Identity, recipe_id: UUID, content: RecipeContent) -> RecipeView:
        """Update the fields that are present in `content`. Raises NotFound, DuplicateEntry."""
        recipe = await self._own(writer, recipe_id)
        if not content.is_empty:
            try:
                recipe = await self.store.change(writer, recipe_id, content)
            except NotFound:
                raise recipe_not_found() from None
            await self.cache.drop_all(LISTS)
        return await self._view(writer, recipe)

    async def delete(self, writer: Identity, recipe_id: UUID) -> None:
        """Raises NotFound."""
        await self._own(writer, recipe_id)
        if not await self.store.delete(writer, recipe_id):
            raise recipe_not_found()
        await self.cache.drop_all(LISTS)

    async def _published(self, query: RecipeQuery) -> int:
        filters = evolve(query, trending=False, limit=0, offset=0)
        key = hashlib.sha256(msgspec.json.encode(asdict(filters))).hexdigest()
        return await self.cache.get_or(
            LISTS, key, SHORT, lambda: self.store.count_published(filters)
        )

    async def _own(self, writer: Identity, recipe_id: UUID) -> Recipe:
        """The writer's own recipe. Raises NotFound for another author's as for a missing one."""
        recipe = await self.store.find(writer, recipe_id)
        if recipe is None or recipe.created_by != writer.user_id:
            raise recipe_not_found()
        return recipe

    async def _view(self, reader: Identity, recipe: Recipe) -> RecipeView:
        (view,) = await self.views(reader, [recipe])
        return view
