"""The rules of recipes: who sees what, who may change what."""

from __future__ import annotations

from uuid import UUID

from attrs import frozen

from cookcam.errors import NotFound
from cookcam.features.accounts.service import Profiles
from cookcam.features.recipes.models import (
    Recipe,
    RecipeContent,
    RecipePage,
    RecipeQuery,
    ShownRecipe,
)
from cookcam.features.recipes.store import RecipeStore
from cookcam.identity import Identity


def recipe_not_found() -> NotFound:
    return NotFound("Recipe not found", error="Recipe not found")


@frozen
class Recipes:
    """Published recipes are for everybody, the rest for their author; only authors write.

    Whose a recipe is, is checked here for the right answer, and by PostgreSQL's policies for the
    right effect: without the check here a foreign recipe still cannot be written.
    """

    store: RecipeStore
    profiles: Profiles

    async def page(self, reader: Identity | None, query: RecipeQuery) -> RecipePage:
        """What the reader may see of the list: three reads, whatever its length."""
        recipes, total = await self.store.page(reader, query)
        return RecipePage(await self._shown(reader, recipes), total)

    async def get(self, reader: Identity | None, recipe_id: UUID) -> ShownRecipe:
        """Raises NotFound for a recipe that is not there or not for the reader."""
        recipe = await self.store.find(reader, recipe_id)
        if recipe is None:
            raise recipe_not_found()
        return await self._one(reader, recipe)

    async def add(self, author: Identity, content: RecipeContent) -> ShownRecipe:
        """Raises DuplicateEntry when the author has a recipe of that title, ignoring case."""
        return await self._one(author, await self.store.add(author, content))

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
        return await self._one(writer, recipe)

    async def delete(self, writer: Identity, recipe_id: UUID) -> None:
        """Raises NotFound."""
        await self._own(writer, recipe_id)
        if not await self.store.delete(writer, recipe_id):
            raise recipe_not_found()

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
        return [
            ShownRecipe(
                recipe,
                creator=cards.get(recipe.created_by) if recipe.created_by else None,
                own=me is not None and recipe.created_by == me,
                favorited=None if me is None else False,  # nothing can be favourited yet
            )
            for recipe in recipes
        ]
