"""The rules of recipes: visibility, authorship, caching."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
import structlog
import trio
from attrs import asdict, frozen

from cookcam.cache import HOUR, SHORT, Cache
from cookcam.database import Transaction
from cookcam.errors import AppError, NotFound
from cookcam.features.accounts.service import Profiles
from cookcam.features.recipes.catalogue.models import (
    GeneratedContent,
    Recipe,
    RecipeContent,
    RecipePage,
    RecipeQuery,
    RecipeSlice,
    RecipeView,
)
from cookcam.features.recipes.catalogue.store import RecipeStore
from cookcam.identity import Identity

ITEMS, LISTS, VIEWED = "recipes:item", "recipes:list", "recipes:viewed"
"""Cache namespaces."""

COUNT_TIMEOUT = 1.0
"""Maximum seconds a reader waits for the view counter, whose row may be locked."""


def recipe_not_found() -> NotFound:
    return NotFound("Recipe not found", error="Recipe not found")


@frozen
class Recipes:
    """Everyone can read published recipes; authors can also read and write their own.

    Row policies enforce this in PostgreSQL. The checks here select the right error.

    Reads by guests are cached without the authors' cards: lists for five minutes, recipes for an
    hour. A write of the recipe invalidates both; counters in cached lists may be outdated.
    """

    store: RecipeStore
    profiles: Profiles
    cache: Cache

    async def page(self, reader: Identity | None, query: RecipeQuery) -> RecipePage:
        """A page of the recipes that the reader may see."""
        rows = await (self.store.page(reader, query) if reader else self._public_page(query))
        return RecipePage(await self.views(reader, rows.recipes), rows.total)

    async def get(self, reader: Identity | None, recipe_id: UUID) -> RecipeView:
        """Raises NotFound when there is no such recipe that the reader may see."""
        return await self._view(reader, await self.require(reader, recipe_id))

    async def require(self, reader: Identity | None, recipe_id: UUID) -> Recipe:
        """The row without the author's card. Raises NotFound as `get` does."""
        if reader is None:
            return await self._public(recipe_id)
        recipe = await self.store.find(reader, recipe_id)
        if recipe is None:
            raise recipe_not_found()
        return recipe

    async def get_many(self, reader: Identity, recipe_ids: Sequence[UUID]) -> list[RecipeView]:
        """The recipes that the reader may see, in the order of `recipe_ids`."""
        return await self.views(reader, await self.store.find_many(reader, recipe_ids))

    async def count_view(self, recipe: Recipe, viewer: str) -> None:
        """Count a view of a published recipe, once per viewer and hour.

        `viewer` is a user's id or a guest's address. Failures are logged, not raised.
        """
        if not recipe.is_published:
            return

        async def count() -> bool:
            await self.store.count_view(recipe.id)
            return True

        key = hashlib.sha256(f"{viewer}|{recipe.id}".encode()).hexdigest()
        with trio.move_on_after(COUNT_TIMEOUT):
            try:
                await self.cache.get_or(VIEWED, key, HOUR, count)
            except AppError as error:
                structlog.get_logger(__name__).info("view not counted", code=error.code)

    async def visibility_changed(self) -> None:
        """Invalidate all cached recipes: an author or a recipe was hidden, or is visible again."""
        await self.cache.drop_all(ITEMS)
        await self.cache.drop_all(LISTS)

    async def counters_changed(self, recipe_id: UUID) -> None:
        """Invalidate the cached recipe; call it after the commit that changed a counter."""
        await self.cache.drop(ITEMS, str(recipe_id))

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

    async def views(self, reader: Identity | None, recipes: list[Recipe]) -> list[RecipeView]:
        """The recipes with their authors' cards and the reader's favourites."""
        cards = await self.profiles.cards(
            recipe.created_by for recipe in recipes if recipe.created_by is not None
        )
        me = reader.user_id if reader is not None else None
        favorites = await self._favorites(reader, recipes)
        return [
            RecipeView(
                recipe,
                creator=cards.get(recipe.created_by) if recipe.created_by else None,
                own=me is not None and recipe.created_by == me,
                favorited=None if me is None else recipe.id in favorites,
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
            await self._invalidate(recipe_id)
        return await self._view(writer, recipe)

    async def delete(self, writer: Identity, recipe_id: UUID) -> None:
        """Raises NotFound."""
        await self._own(writer, recipe_id)
        if not await self.store.delete(writer, recipe_id):
            raise recipe_not_found()
        await self._invalidate(recipe_id)

    async def _invalidate(self, recipe_id: UUID) -> None:
        await self.cache.drop(ITEMS, str(recipe_id))
        await self.cache.drop_all(LISTS)

    async def _public_page(self, query: RecipeQuery) -> RecipeSlice:
        async def produce() -> Any:
            return msgspec.to_builtins(await self.store.page(None, query))

        key = hashlib.sha256(msgspec.json.encode(asdict(query))).hexdigest()
        return msgspec.convert(await self.cache.get_or(LISTS, key, SHORT, produce), RecipeSlice)

    async def _public(self, recipe_id: UUID) -> Recipe:
        async def produce() -> Any:
            recipe = await self.store.find(None, recipe_id)
            if recipe is None:  # not cached: clients may send any id
                raise recipe_not_found()
            return msgspec.to_builtins(recipe)

        cached = await self.cache.get_or(ITEMS, str(recipe_id), HOUR, produce)
        return msgspec.convert(cached, Recipe)

    async def _own(self, writer: Identity, recipe_id: UUID) -> Recipe:
        """The writer's own recipe. Raises NotFound for another author's as for a missing one."""
        recipe = await self.store.find(writer, recipe_id)
        if recipe is None or recipe.created_by != writer.user_id:
            raise recipe_not_found()
        return recipe

    async def _view(self, reader: Identity | None, recipe: Recipe) -> RecipeView:
        (view,) = await self.views(reader, [recipe])
        return view

    async def _favorites(self, reader: Identity | None, recipes: list[Recipe]) -> set[UUID]:
        if reader is None or not recipes:
            return set()
        return await self.store.favorites(reader, [recipe.id for recipe in recipes])
