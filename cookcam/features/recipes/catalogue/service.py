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
from cookcam.features.recipes.catalogue.models import (
    GeneratedContent,
    Recipe,
    RecipeContent,
    RecipeJson,
    RecipeQuery,
)
from cookcam.features.recipes.catalogue.store import RecipeStore
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
    cache: Cache

    async def page(self, reader: Identity | None, query: RecipeQuery) -> tuple[bytes, int]:
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

    async def list_json(self, reader: Identity, recipe_ids: Sequence[UUID]) -> list[RecipeJson]:
        """The recipes that the reader may see, in the order of the ids."""
        return await self.store.list_json(reader, recipe_ids)

    async def require(self, reader: Identity | None, recipe_id: UUID) -> Recipe:
        """The row of a recipe. Raises NotFound as `get_json` does."""
        recipe = await self.store.find(reader, recipe_id)
        if recipe is None:
            raise recipe_not_found()
        return recipe

    async def require_own(self, author: Identity, recipe_id: UUID) -> Recipe:
        """The row of the author's recipe. Raises NotFound for any other."""
        recipe = await self.require(author, recipe_id)
        if recipe.created_by != author.user_id:
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

    async def visibility_changed(self) -> None:
        """Invalidate cached counts: an author or a recipe was hidden, or is visible again."""
        await self.cache.drop_all(LISTS)

    async def add(self, author: Identity, content: RecipeContent) -> RecipeJson:
        """Raises DuplicateEntry when the author has a recipe of that title, ignoring case."""
        recipe = await self.store.add(author, content)
        if recipe.is_published:
            await self.cache.drop_all(LISTS)
        return recipe

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

    async def change(self, writer: Identity, recipe_id: UUID, content: RecipeContent) -> RecipeJson:
        """Update the fields that are present in `content`. Raises NotFound, DuplicateEntry."""
        await self.require_own(writer, recipe_id)
        if content.is_empty:
            return await self.get_json(writer, recipe_id)
        try:
            recipe = await self.store.change(writer, recipe_id, content)
        except NotFound:
            raise recipe_not_found() from None
        await self.cache.drop_all(LISTS)
        return recipe

    async def delete(self, writer: Identity, recipe_id: UUID) -> None:
        """Raises NotFound."""
        await self.require_own(writer, recipe_id)
        if not await self.store.delete(writer, recipe_id):
            raise recipe_not_found()
        await self.cache.drop_all(LISTS)

    async def _published(self, query: RecipeQuery) -> int:
        filters = evolve(query, trending=False, limit=0, offset=0)
        key = hashlib.sha256(msgspec.json.encode(asdict(filters))).hexdigest()
        return await self.cache.get_or(
            LISTS, key, SHORT, lambda: self.store.count_published(filters)
        )
