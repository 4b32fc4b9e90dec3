"""The rules of the ingredient catalogue: search, caching, synchronization with USDA."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, cast

from attrs import frozen

from cookcam.cache import DAY, HOUR, Cache
from cookcam.errors import AppError, Conflict, DuplicateEntry, NotFound, ServiceError
from cookcam.features.food.ingredients.models import (
    Candidate,
    IngredientRow,
    Json,
    Phrase,
    UsdaMatch,
    UsdaSyncResult,
)
from cookcam.features.food.ingredients.names import similarity
from cookcam.features.food.ingredients.nutrients import columns_of
from cookcam.features.food.ingredients.store import IngredientStore
from cookcam.integrations.usda import Food, Usda

SEARCHES, ITEMS, LISTS = "ingredients:found", "ingredients:row", "ingredients:page"
USDA_SEARCHES = "ingredients:usda:search"
MATCHES = "nutrition:match"
"""Cache namespaces. `nutrition` fills the last one; a change of the catalogue invalidates it."""

MAX_FROM_USDA = 50
CANDIDATES_OF_SYNC = 10
PREFERRED_TYPES = ("Survey (FNDDS)", "Foundation")
MIN_SIMILARITY = 0.6
"""A USDA food whose name is less similar is a different food."""


class UsdaFailed(AppError):
    """USDA's response was unusable."""

    status, code, default_message = 500, "SERVICE_ERROR", "The food database failed"


def ingredient_not_found() -> NotFound:
    return NotFound("Ingredient not found", error="Ingredient not found")


@frozen
class Ingredients:
    """The ingredient catalogue. Reads are cached for an hour, shared by all users."""

    store: IngredientStore
    usda: Usda
    cache: Cache

    async def search_json(self, text: str, limit: int, *, for_app: bool) -> str:
        """The response to a search by similar names: the most similar first, then the shortest."""

        async def load() -> str:
            return (await self.store.search_json(text, limit, for_app=for_app)).decode()

        return await self.cache.get_or(
            SEARCHES, _digest(text, str(limit), str(for_app)), HOUR, load
        )

    async def page(self, category: str | None, *, limit: int, offset: int) -> tuple[str, int]:
        """A slice of the catalogue, or of one category, ordered by name, as a JSON array, and the
        number of all rows."""
        ingredients, total = await self.cache.get_or(
            LISTS,
            _digest(category or "", str(limit), str(offset)),
            HOUR,
            lambda: self.store.page(category, limit=limit, offset=offset),
        )
        return ingredients, total

    async def categories(self) -> list[str]:
        """Every category, in order."""
        return await self.cache.get_or(LISTS, "categories", HOUR, self.store.categories)

    async def get_json(self, ingredient_id: int) -> str:
        """Raises NotFound."""

        async def load() -> str:
            encoded = await self.store.find_json(ingredient_id)
            if encoded is None:  # not cached: clients may send any id
                raise ingredient_not_found()
            return encoded.decode()

        return await self.cache.get_or(ITEMS, str(ingredient_id), HOUR, load)

    async def candidates(self, phrases: Sequence[Phrase]) -> list[Candidate]:
        """Rows with known amounts that contain the words of a phrase. Uncached; one read."""
        return await self.store.candidates(phrases)

    async def search_usda(self, text: str, limit: int, data_type: str | None) -> Json:
        """USDA's response, cached for a day. Raises ServiceUnavailable, UsdaFailed."""
        params: dict[str, str | int] = {"query": text, "pageSize": min(limit, MAX_FROM_USDA)}
        if data_type:
            params["dataType"] = data_type
        return await self._from_usda(params)

    async def sync(self, ingredient_id: int) -> UsdaSyncResult:
        """Link an ingredient to the USDA food of a similar name and copy its amounts.

        Raises NotFound for an unknown ingredient and when USDA has no similar food, Conflict when
        every similar food is linked to another ingredient, ServiceUnavailable, UsdaFailed.
        """
        ingredient = await self._find(ingredient_id)
        match = await self._match(ingredient)
        try:
            food = await self.usda.food(match.fdc_id)
        except ServiceError:
            raise sync_failed() from None
        if food is None:
            raise no_usda_data()
        synced = await self._link(ingredient_id, match, food)
        await self.cache.drop(ITEMS, str(ingredient_id))
        for namespace in (SEARCHES, LISTS, MATCHES):
            await self.cache.drop_all(namespace)
        return synced

    async def _find(self, ingredient_id: int) -> IngredientRow:
        ingredient = await self.store.find(ingredient_id)
        if ingredient is None:
            raise ingredient_not_found()
        return ingredient

    async def _match(self, ingredient: IngredientRow) -> UsdaMatch:
        """A food of a similar name that is not linked yet; preferred data types first."""
        name = ingredient.name
        try:
            body = await self._from_usda({"query": name, "pageSize": CANDIDATES_OF_SYNC})
        except UsdaFailed:
            raise sync_failed() from None
        similar = [
            match
            for match in map(_usda_match, cast("list[object]", body["foods"]))
            if match is not None and similarity(name, match.description) >= MIN_SIMILARITY
        ]
        if not similar:
            raise no_usda_data()
        taken = await self.store.taken(ingredient.id, [match.fdc_id for match in similar])
        free = [match for match in similar if match.fdc_id not in taken]
        if not free:
            raise already_linked()
        return next((match for match in free if match.data_type in PREFERRED_TYPES), free[0])

    async def _link(self, ingredient_id: int, match: UsdaMatch, food: Food) -> UsdaSyncResult:
        nutrition = columns_of(food.amounts)
        try:
            row = await self.store.link(ingredient_id, match.fdc_id, match.data_type, nutrition)
        except NotFound:
            raise ingredient_not_found() from None
        except DuplicateEntry:
            raise already_linked() from None
        return UsdaSyncResult(row, match, nutrition)

    async def _from_usda(self, params: dict[str, str | int]) -> Json:
        key = _digest(*(f"{name}={value}" for name, value in sorted(params.items())))
        try:
            return await self.cache.get_or(
                USDA_SEARCHES, key, DAY, lambda: self.usda.search(params)
            )
        except ServiceError:
            raise UsdaFailed from None


def no_usda_data() -> NotFound:
    message = "No USDA data found for this ingredient"
    return NotFound(message, error=message)


def already_linked() -> Conflict:
    return Conflict("Another ingredient is linked to this food already")


def sync_failed() -> UsdaFailed:
    return UsdaFailed(error="Failed to sync with USDA data")


def _usda_match(food: object) -> UsdaMatch | None:
    fields: dict[str, Any] = cast("dict[str, Any]", food) if isinstance(food, dict) else {}
    fdc_id, description = fields.get("fdcId"), fields.get("description")
    if not isinstance(fdc_id, int) or not isinstance(description, str):
        return None
    return UsdaMatch(fdc_id, description, str(fields.get("dataType") or ""))


def _digest(*parts: str) -> str:
    """Cache key: a hash, so that texts of users do not appear in keys."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
