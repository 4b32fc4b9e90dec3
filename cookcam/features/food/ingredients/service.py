"""The rules of the food catalogue: what is found, what is kept, what USDA may change."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, cast

import attrs
import msgspec
from attrs import frozen

from cookcam.cache import DAY, HOUR, Cache
from cookcam.errors import AppError, Conflict, DuplicateEntry, NotFound, ServiceError
from cookcam.features.food.ingredients.models import (
    Candidate,
    Ingredient,
    IngredientPage,
    Json,
    Phrase,
    Synced,
    UsdaMatch,
)
from cookcam.features.food.ingredients.names import similarity
from cookcam.features.food.ingredients.nutrients import columns_of
from cookcam.features.food.ingredients.store import IngredientStore
from cookcam.integrations.usda import Food, Usda

SEARCHES, ITEMS, LISTS = "ingredients:search", "ingredients:item", "ingredients:list"
USDA_SEARCHES = "ingredients:usda:search"
MATCHES = "nutrition:match"
"""Namespaces of the cache (`spec/http-api-core.md` §16); the last one is kept by nutrition and
goes stale with the catalogue."""

MAX_FROM_USDA = 50
CANDIDATES_OF_SYNC = 10
PREFERRED_TYPES = ("Survey (FNDDS)", "Foundation")
ACCEPTED_SIMILARITY = 0.6
"""Below this USDA's food is another one (`spec/http-api-core.md` §8.3)."""


class UsdaFailed(AppError):
    """USDA answered with something that cannot be used."""

    status, code, default_message = 500, "SERVICE_ERROR", "The food database failed"


def ingredient_not_found() -> NotFound:
    return NotFound("Ingredient not found", error="Ingredient not found")


@frozen
class Ingredients:
    """The catalogue is the same for everybody, so what is read of it is kept for an hour."""

    store: IngredientStore
    usda: Usda
    cache: Cache

    async def search(self, text: str, limit: int) -> list[Ingredient]:
        """Rows that resemble `text`, the most similar first, of these the shortest names."""
        rows = await self.cache.get_or(
            SEARCHES,
            _digest(text, str(limit)),
            HOUR,
            lambda: _plain(self.store.search(text, limit)),
        )
        return msgspec.convert(rows, list[Ingredient])

    async def page(self, category: str | None, *, limit: int, offset: int) -> IngredientPage:
        """A slice of the catalogue by name, of one category if it is given."""

        async def load() -> Any:
            rows, total = await self.store.page(category, limit=limit, offset=offset)
            return [[attrs.asdict(row) for row in rows], total]

        rows, total = await self.cache.get_or(
            LISTS, _digest(category or "", str(limit), str(offset)), HOUR, load
        )
        return IngredientPage(msgspec.convert(rows, list[Ingredient]), total)

    async def categories(self) -> list[str]:
        """Every category, in order."""
        return await self.cache.get_or(LISTS, "categories", HOUR, self.store.categories)

    async def get(self, ingredient_id: int) -> Ingredient:
        """Raises NotFound."""

        async def load() -> Any:
            return attrs.asdict(await self._find(ingredient_id))

        row = await self.cache.get_or(ITEMS, str(ingredient_id), HOUR, load)
        return msgspec.convert(row, Ingredient)

    async def candidates(self, phrases: Sequence[Phrase]) -> list[Candidate]:
        """Rows with known amounts that hold the words of each phrase; uncached, one read."""
        return await self.store.candidates(phrases)

    async def search_usda(self, text: str, limit: int, data_type: str | None) -> Json:
        """USDA's own answer, at most a day old. Raises ServiceUnavailable, UsdaFailed."""
        params: dict[str, str | int] = {"query": text, "pageSize": min(limit, MAX_FROM_USDA)}
        if data_type:
            params["dataType"] = data_type
        return await self._from_usda(params)

    async def sync(self, ingredient_id: int) -> Synced:
        """Links an ingredient to the food of that name at USDA and takes over its amounts.

        Raises NotFound for an unknown ingredient and where USDA has no food of a similar name,
        Conflict where another ingredient is that food, ServiceUnavailable, UsdaFailed.
        """
        ingredient = await self._find(ingredient_id)
        match = await self._match(ingredient)
        try:
            food = await self.usda.food(match.fdc_id)
        except ServiceError:
            raise sync_failed() from None
        if food is None:
            raise no_usda_data()
        synced = await self._take_over(ingredient_id, match, food)
        await self.cache.drop(ITEMS, str(ingredient_id))
        for namespace in (SEARCHES, LISTS, MATCHES):
            await self.cache.drop_all(namespace)
        return synced

    async def _find(self, ingredient_id: int) -> Ingredient:
        found = await self.store.find(ingredient_id)
        if found is None:
            raise ingredient_not_found()
        return found

    async def _match(self, ingredient: Ingredient) -> UsdaMatch:
        """A food of a similar name that is nobody else's, of a preferred type if there is one."""
        name = ingredient.name
        try:
            body = await self._from_usda({"query": name, "pageSize": CANDIDATES_OF_SYNC})
        except UsdaFailed:
            raise sync_failed() from None
        similar = [
            match
            for match in map(_usda_match, cast("list[object]", body["foods"]))
            if match is not None and similarity(name, match.description) >= ACCEPTED_SIMILARITY
        ]
        if not similar:
            raise no_usda_data()
        taken = await self.store.taken(ingredient.id, [match.fdc_id for match in similar])
        free = [match for match in similar if match.fdc_id not in taken]
        if not free:
            raise already_linked()
        return next((match for match in free if match.data_type in PREFERRED_TYPES), free[0])

    async def _take_over(self, ingredient_id: int, match: UsdaMatch, food: Food) -> Synced:
        nutrition = columns_of(food.amounts)
        try:
            row = await self.store.link(ingredient_id, match.fdc_id, match.data_type, nutrition)
        except NotFound:
            raise ingredient_not_found() from None
        except DuplicateEntry:
            raise already_linked() from None
        return Synced(row, match, nutrition)

    async def _from_usda(self, params: dict[str, str | int]) -> Json:
        key = _digest(*(f"{name}={value}" for name, value in sorted(params.items())))
        try:
            return await self.cache.get_or(
                USDA_SEARCHES, key, DAY, lambda: self.usda.search(params)
            )
        except ServiceError:
            raise UsdaFailed from None


def no_usda_data() -> NotFound:
    words = "No USDA data found for this ingredient"
    return NotFound(words, error=words)


def already_linked() -> Conflict:
    return Conflict("Another ingredient is linked to this food already")


def sync_failed() -> UsdaFailed:
    return UsdaFailed(error="Failed to sync with USDA data")


def _usda_match(food: object) -> UsdaMatch | None:
    known: dict[str, Any] = cast("dict[str, Any]", food) if isinstance(food, dict) else {}
    fdc_id, description = known.get("fdcId"), known.get("description")
    if not isinstance(fdc_id, int) or not isinstance(description, str):
        return None
    return UsdaMatch(fdc_id, description, str(known.get("dataType") or ""))


async def _plain(rows: Any) -> list[dict[str, Any]]:
    return [attrs.asdict(row) for row in await rows]


def _digest(*parts: str) -> str:
    """Of what people type; never the text itself as a key."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
