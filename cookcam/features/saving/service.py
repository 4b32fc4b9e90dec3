"""The rules of saving recipes.

Saving and favouriting are one relation: what is favourited is among the saved, and what leaves one
leaves the other (`spec/client-contract.md` §5.3). Quota, row, counter and XP are one transaction.
"""

from __future__ import annotations

from uuid import UUID

from attrs import frozen

from cookcam.database import Transaction
from cookcam.errors import DatabaseError
from cookcam.features.gamification.service import Xp
from cookcam.features.recipes.service import Recipes, recipe_not_found
from cookcam.features.saving.models import Favorited, SavedPage, SavedRecipe, Standing
from cookcam.features.saving.store import SavingStore
from cookcam.features.subscriptions.quotas import Quotas
from cookcam.identity import Identity

UNSAVE_FAILED = "Failed to unsave recipe"
UNFAVORITE_FAILED = "Failed to remove recipe from favorites"


@frozen
class Saving:
    """Raises NotFound for a recipe that is neither visible to the caller nor saved by them: what
    its author has withdrawn can still be removed. Raises LimitReached when the caller's plan has
    no room for one more.
    """

    store: SavingStore
    recipes: Recipes
    quotas: Quotas
    xp: Xp

    async def toggle(self, caller: Identity, recipe_id: UUID) -> bool:
        """Saves the recipe, or removes it; whether it is saved now.

        Toggles at the same time come one after the other, so that each turns the last one's state.
        """
        async with self.store.changing(caller, recipe_id) as tx:
            standing = await self.store.standing(tx, caller, recipe_id)
            saved = not standing.saved
            await self._bring(tx, caller, recipe_id, standing, saved, UNSAVE_FAILED)
        await self.recipes.recount(recipe_id)
        return saved

    async def favorite(
        self, caller: Identity, recipe_id: UUID, wanted: bool | None = None
    ) -> Favorited:
        """Makes the recipe a favourite, or none; without a wish, the other of what it is.

        A toggle that comes again within three seconds is the first one repeated, whose answer was
        lost: it gets the same answer and changes nothing. Being added earns XP, once per recipe.
        """
        award = None
        async with self.store.changing(caller, recipe_id) as tx:
            standing = await self.store.standing(tx, caller, recipe_id)
            if wanted is None:
                last = await self.store.last_toggle(tx, caller, recipe_id)
                if last is not None and last == standing.saved:
                    return Favorited(last, 0)
            favorited = not standing.saved if wanted is None else wanted
            await self._bring(tx, caller, recipe_id, standing, favorited, UNFAVORITE_FAILED)
            if wanted is None:
                await self.store.note_toggle(tx, caller, recipe_id, favorited)
            if favorited and not standing.saved:
                award = await self.xp.award(
                    tx,
                    caller.user_id,
                    "recipe_favorited",
                    subject=str(recipe_id),
                    metadata={"recipe_id": str(recipe_id)},
                )
        await self.recipes.recount(recipe_id)
        if award is None:
            return Favorited(favorited, 0)
        self.xp.announce(award)
        return Favorited(favorited, award.xp_gained)

    async def unsave(self, caller: Identity, recipe_id: UUID) -> None:
        """Removes the recipe from the saved ones; it may have been removed before."""
        async with self.store.changing(caller, recipe_id) as tx:
            standing = await self.store.standing(tx, caller, recipe_id)
            await self._bring(tx, caller, recipe_id, standing, False, UNSAVE_FAILED)
        await self.recipes.recount(recipe_id)

    async def page(self, owner: Identity, limit: int, offset: int) -> SavedPage:
        """The owner's saved recipes, newest first. Withdrawn and deleted ones are left out."""
        bookmarks, total = await self.store.page(owner, limit, offset)
        shown = await self.recipes.these(owner, [bookmark.recipe_id for bookmark in bookmarks])
        by_id = {one.recipe.id: one for one in shown}
        return SavedPage(
            [
                SavedRecipe(bookmark.created_at, by_id[bookmark.recipe_id])
                for bookmark in bookmarks
                if bookmark.recipe_id in by_id  # withdrawn between the two reads
            ],
            total,
        )

    async def _bring(
        self,
        tx: Transaction,
        owner: Identity,
        recipe_id: UUID,
        standing: Standing,
        saved: bool,
        removal_failed: str,
    ) -> None:
        """Makes it saved or not. `removal_failed` is the literal of a removal's 500."""
        if not (standing.visible or (standing.saved and not saved)):
            raise recipe_not_found()
        if saved == standing.saved:
            return
        if saved:
            await self.quotas.consume(tx, owner.user_id, "saved_recipes")
            await self.store.add(tx, owner, recipe_id)
            return
        try:
            await self.store.remove(tx, owner, recipe_id)
        except DatabaseError as error:
            raise DatabaseError(error=removal_failed) from error
