"""The rules of saving recipes.

Saved recipes and favourites are one relation: adding to or removing from one changes the other.
Quota, row, counter and XP change in one transaction.
"""

from __future__ import annotations

from uuid import UUID

from attrs import frozen

from cookcam.database import Transaction
from cookcam.errors import DatabaseError
from cookcam.features.billing.tiers.quotas import Quotas
from cookcam.features.recipes.catalogue.service import recipe_not_found
from cookcam.features.recipes.saving.models import FavoriteResult, SavedState
from cookcam.features.recipes.saving.store import SavingStore
from cookcam.features.rewards.xp.service import Xp
from cookcam.identity import Identity

UNSAVE_FAILED = "Failed to unsave recipe"
UNFAVORITE_FAILED = "Failed to remove recipe from favorites"


@frozen
class Saving:
    """Saves recipes and marks favourites.

    Methods raise NotFound for a recipe that the caller can neither see nor has saved; a saved
    recipe that its author has withdrawn can still be removed. They raise LimitReached when the
    caller's plan allows no further saved recipe.
    """

    store: SavingStore
    quotas: Quotas
    xp: Xp

    async def toggle(self, caller: Identity, recipe_id: UUID) -> bool:
        """Saves the recipe, or removes a saved one; returns whether it is saved now.

        Concurrent toggles of one user are serialised, so each inverts the previous state.
        """
        async with self.store.locked_transaction(caller, recipe_id) as tx:
            current = await self.store.current(tx, caller, recipe_id)
            saved = not current.saved
            await self._set_saved(tx, caller, recipe_id, current, saved, UNSAVE_FAILED)
        return saved

    async def favorite(
        self, caller: Identity, recipe_id: UUID, requested: bool | None = None
    ) -> FavoriteResult:
        """Makes the recipe a favourite or not, as `requested`; toggles it when that is None.

        A toggle repeated within REPEAT_WINDOW is taken for a retry after a lost response: it
        returns the first result and changes nothing. Adding earns XP, once per recipe.
        """
        award = None
        async with self.store.locked_transaction(caller, recipe_id) as tx:
            current = await self.store.current(tx, caller, recipe_id)
            if requested is None:
                last = await self.store.last_toggle(tx, caller, recipe_id)
                if last is not None and last == current.saved:
                    return FavoriteResult(last, 0)
            favorited = not current.saved if requested is None else requested
            await self._set_saved(tx, caller, recipe_id, current, favorited, UNFAVORITE_FAILED)
            if requested is None:
                await self.store.record_toggle(tx, caller, recipe_id, favorited)
            if favorited and not current.saved:
                award = await self.xp.award(
                    tx,
                    caller.user_id,
                    "recipe_favorited",
                    subject=str(recipe_id),
                    metadata={"recipe_id": str(recipe_id)},
                )
        if award is None:
            return FavoriteResult(favorited, 0)
        return FavoriteResult(favorited, award.xp_gained)

    async def unsave(self, caller: Identity, recipe_id: UUID) -> None:
        """Removes the recipe from the saved recipes; idempotent."""
        async with self.store.locked_transaction(caller, recipe_id) as tx:
            current = await self.store.current(tx, caller, recipe_id)
            await self._set_saved(tx, caller, recipe_id, current, False, UNSAVE_FAILED)

    async def _set_saved(
        self,
        tx: Transaction,
        owner: Identity,
        recipe_id: UUID,
        current: SavedState,
        saved: bool,
        removal_failed: str,
    ) -> None:
        """Saves or removes the recipe. `removal_failed` is the error text of a failed removal."""
        if not (current.visible or (current.saved and not saved)):
            raise recipe_not_found()
        if saved == current.saved:
            return
        if saved:
            await self.quotas.consume(tx, owner.user_id, "saved_recipes")
            await self.store.add(tx, owner, recipe_id)
            return
        try:
            await self.store.remove(tx, owner, recipe_id)
        except DatabaseError as error:
            raise DatabaseError(error=removal_failed) from error
