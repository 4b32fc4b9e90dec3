"""The rules of recipes: who sees what, who may change what."""

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
    ShownRecipe,
)
from cookcam.features.recipes.catalogue.store import RecipeStore
from cookcam.identity import Identity

ITEMS, LISTS, VIEWED = "recipes:item", "recipes:list", "recipes:viewed"
"""What is kept of recipes (`spec/http-api-core.md` §16)."""

COUNT_TIMEOUT = 1.0
"""Seconds a reader waits for a view to be counted: others may be writing the same row."""


def recipe_not_found() -> NotFound:
    return NotFound("Recipe not found", error="Recipe not found")


@frozen
class Recipes:
    """Published recipes are for everybody, the rest for their author; only authors write.

    Whose a recipe is, is checked here for the right answer, and by PostgreSQL's policies for the
    right effect: without the check here a foreign recipe still cannot be written.

    What guests read is kept: lists for five minutes, recipes for an hour, without their authors'
    names. A write of the recipe ends that at once; counters in lists may be as old as that.
    """

    store: RecipeStore
    profiles: Profiles
    cache: Cache

    async def page(self, reader: Identity | None, query: RecipeQuery) -> RecipePage:
        """What the reader may see of the list: three reads, whatever its length, and a fourth for
        who has favourites."""
        found = await (self.store.page(reader, query) if reader else self._public_page(query))
        return RecipePage(await self._shown(reader, found.recipes), found.total)

    async def get(self, reader: Identity | None, recipe_id: UUID) -> ShownRecipe:
        """Raises NotFound for a recipe that is not there or not for the reader."""
        return await self._one(reader, await self.require(reader, recipe_id))

    async def require(self, reader: Identity | None, recipe_id: UUID) -> Recipe:
        """The bare recipe. Raises NotFound as `get` does."""
        if reader is None:
            return await self._public(recipe_id)
        recipe = await self.store.find(reader, recipe_id)
        if recipe is None:
            raise recipe_not_found()
        return recipe

    async def these(self, reader: Identity, recipe_ids: Sequence[UUID]) -> list[ShownRecipe]:
        """Those of the recipes that the reader may see, in the order given."""
        return await self._shown(reader, await self.store.these(reader, recipe_ids))

    async def count_view(self, recipe: Recipe, viewer: str) -> None:
        """Counts that somebody read a published recipe, once per viewer and hour.

        `viewer` is a user's id or a guest's address. That the view cannot be counted is no reason
        not to show the recipe: then it is not.
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
                structlog.get_logger(__name__).info("view was not counted", code=error.code)

    async def recount(self, recipe_id: UUID) -> None:
        """To be called after the commit by whoever changed a counter of the recipe."""
        await self.cache.drop(ITEMS, str(recipe_id))

    async def add(self, author: Identity, content: RecipeContent) -> ShownRecipe:
        """Raises DuplicateEntry when the author has a recipe of that title, ignoring case."""
        recipe = await self.store.add(author, content)
        if recipe.is_published:
            await self.cache.drop_all(LISTS)
        return await self._one(author, recipe)

    async def add_generated(
        self, tx: Transaction, author: Identity, recipes: Sequence[GeneratedContent]
    ) -> list[Recipe]:
        """Stores what a model wrote for the author, in the transaction of what goes with it."""
        return await self.store.add_generated(tx, author, recipes)

    async def find_generated(
        self, tx: Transaction, author: Identity, metadata: dict[str, Any]
    ) -> Recipe | None:
        """The author's first generated recipe whose metadata says all of `metadata`."""
        return await self.store.find_generated(tx, author, metadata)

    async def shown(self, reader: Identity, recipes: list[Recipe]) -> list[ShownRecipe]:
        """Recipes at hand as `reader` sees them."""
        return await self._shown(reader, recipes)

    async def change(
        self, writer: Identity, recipe_id: UUID, content: RecipeContent
    ) -> ShownRecipe:
        """What is given replaces what was. Raises NotFound, DuplicateEntry."""
        recipe = await self._own(writer, recipe_id)
        if not content.nothing:
            try:
                recipe = await self.store.change(writer, recipe_id, content)
            except NotFound:
                raise recipe_not_found() from None
            await self._forget(recipe_id)
        return await self._one(writer, recipe)

    async def delete(self, writer: Identity, recipe_id: UUID) -> None:
        """Raises NotFound."""
        await self._own(writer, recipe_id)
        if not await self.store.delete(writer, recipe_id):
            raise recipe_not_found()
        await self._forget(recipe_id)

    async def _forget(self, recipe_id: UUID) -> None:
        await self.cache.drop(ITEMS, str(recipe_id))
        await self.cache.drop_all(LISTS)

    async def _public_page(self, query: RecipeQuery) -> RecipeSlice:
        async def produce() -> Any:
            return msgspec.to_builtins(await self.store.page(None, query))

        asked = msgspec.json.encode(asdict(query))
        key = hashlib.sha256(asked).hexdigest()
        return msgspec.convert(await self.cache.get_or(LISTS, key, SHORT, produce), RecipeSlice)

    async def _public(self, recipe_id: UUID) -> Recipe:
        async def produce() -> Any:
            recipe = await self.store.find(None, recipe_id)
            if recipe is None:  # not kept: anybody may ask for any id
                raise recipe_not_found()
            return msgspec.to_builtins(recipe)

        kept = await self.cache.get_or(ITEMS, str(recipe_id), HOUR, produce)
        return msgspec.convert(kept, Recipe)

    async def _own(self, writer: Identity, recipe_id: UUID) -> Recipe:
        """The writer's own recipe; somebody else's is as little there as none."""
        recipe = await self.store.find(writer, recipe_id)
        if recipe is None or recipe.created_by != writer.user_id:
            raise recipe_not_found()
        return recipe

    async def _one(self, reader: Identity | None, recipe: Recipe) -> ShownRecipe:
        (shown,) = await self._shown(reader, [recipe])
        return shown

    async def _shown(self, reader: Identity | None, recipes: list[Recipe]) -> list[ShownRecipe]:
        cards = await self.profiles.cards(
            recipe.created_by for recipe in recipes if recipe.created_by is not None
        )
        me = reader.user_id if reader is not None else None
        favorites = await self._favorites(reader, recipes)
        return [
            ShownRecipe(
                recipe,
                creator=cards.get(recipe.created_by) if recipe.created_by else None,
                own=me is not None and recipe.created_by == me,
                favorited=None if me is None else recipe.id in favorites,
            )
            for recipe in recipes
        ]

    async def _favorites(self, reader: Identity | None, recipes: list[Recipe]) -> set[UUID]:
        if reader is None or not recipes:
            return set()
        return await self.store.favorites(reader, [recipe.id for recipe in recipes])
