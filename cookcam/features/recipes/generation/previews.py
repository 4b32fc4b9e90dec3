"""Recipe previews, and the detailed recipe of one of them.

The app retries both requests up to three times when a response is lost, so both are safe to repeat:
a concurrent repeat shares the running generation, a later one returns the stored result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar, cast
from uuid import uuid4

import orjson
import trio
from attrs import define, field, frozen

from cookcam.database import Database
from cookcam.errors import NotFound
from cookcam.features.recipes.catalogue.models import GeneratedContent, Recipe
from cookcam.features.recipes.catalogue.service import Recipes
from cookcam.features.recipes.generation.checks import ContentCheck, KnownTitles
from cookcam.features.recipes.generation.contracts import (
    DETAILED_RECIPE,
    PREVIEWS,
    Preview,
    Previews,
    as_json,
)
from cookcam.features.recipes.generation.models import (
    CookingSession,
    Deadlines,
    DetailedRecipeResult,
    PreviewPreferences,
    PreviewsResult,
    RecipePreviewRow,
    SelectedPreview,
)
from cookcam.features.recipes.generation.parsing import preview_required
from cookcam.features.recipes.generation.recipe_model import ProgressListener, RecipeModel
from cookcam.features.recipes.generation.rows import (
    detailed_recipe_json,
    detailed_recipe_key,
    detailed_recipe_row,
)
from cookcam.features.recipes.generation.store import SessionStore
from cookcam.features.recipes.generation.usage import GenerationUsage, storage_errors_as
from cookcam.features.rewards.xp.models import Award
from cookcam.identity import Identity

T = TypeVar("T")

REPEAT_SECONDS = 300.0
"""A repeated request for previews returns the stored ones if they are at most this old."""


@define(eq=False)
class _Run:
    content: Hashable
    ended: trio.Event = field(factory=trio.Event)
    result: Any = None
    failure: Exception | None = None
    succeeded: bool = False


@define(eq=False)
class SingleFlight:
    """Runs one function per key at a time, in the task of the first caller.

    A concurrent call with the same key and content gets the same result or exception; one with
    other content waits until the key is free. If the first caller is cancelled, for instance
    because its client disconnected, the next one runs its own function.
    """

    _runs: dict[Hashable, _Run] = field(factory=dict[Hashable, _Run], init=False)

    async def run(
        self, key: Hashable, content: Hashable, function: Callable[[], Awaitable[T]]
    ) -> T:
        while (current := self._runs.get(key)) is not None:
            await current.ended.wait()
            if current.content == content and current.failure is not None:
                raise current.failure
            if current.content == content and current.succeeded:
                return cast("T", current.result)
        current = self._runs[key] = _Run(content)
        try:
            result = current.result = await function()
            current.succeeded = True
        except Exception as failure:
            current.failure = failure
            raise
        finally:
            del self._runs[key]
            current.ended.set()
        return result


@frozen
class PreviewService:
    database: Database
    store: SessionStore
    model: RecipeModel
    recipes: Recipes
    usage: GenerationUsage
    deadlines: Deadlines
    _preview_runs: SingleFlight = field(factory=SingleFlight, init=False)
    _detail_runs: SingleFlight = field(factory=SingleFlight, init=False)

    async def previews(
        self,
        caller: Identity,
        ingredients: list[str],
        preferences: PreviewPreferences,
        session_id: str | None,
        progress: ProgressListener,
    ) -> PreviewsResult:
        """Generate up to three previews that are new to the session and not in
        `preferences.exclude`.

        One generation runs at a time per session of a user, or per request content without a
        session. The first one of a session consumes quota. Raises LimitReached (403), InternalError
        when they cannot be stored, and what the model's client raises.
        """
        content = hashlib.sha256(orjson.dumps([ingredients, preferences.json()])).digest()

        async def run() -> PreviewsResult:
            return await self._previews(caller, ingredients, preferences, session_id, progress)

        return await self._preview_runs.run((caller.user_id, session_id or content), content, run)

    async def _previews(
        self,
        caller: Identity,
        ingredients: list[str],
        preferences: PreviewPreferences,
        requested_id: str | None,
        progress: ProgressListener,
    ) -> PreviewsResult:
        stored = await self.store.recent_previews(
            caller, requested_id, ingredients, preferences.json(), REPEAT_SECONDS
        )
        if stored:
            return PreviewsResult(stored[0].session_id, stored, 0)
        session_id, exists = await self._session_id(caller, requested_id)
        if not exists:
            await self.usage.require_quota(caller)
        previous = await self.store.titles(caller, session_id) if exists else []
        exclude = list(dict.fromkeys([*preferences.exclude, *previous]))
        known = KnownTitles.of(exclude)
        ids = [str(uuid4()) for _ in range(3)]
        generated = await self._generate_previews(
            {
                **preferences.json(),
                "detectedIngredients": ingredients,
                "excludeRecipes": exclude,
            },
            ContentCheck(tuple(preferences.disliked)),
            known,
            ids,
            progress,
        )
        fresh = [(ids[n], preview) for n, preview in known.new_previews(generated.recipes)]
        progress.stage("storing")
        with storage_errors_as("Failed to generate recipe previews"):
            stored, award = await self._store_previews(
                caller, session_id, ingredients, preferences, fresh
            )
        return PreviewsResult(session_id, stored, award.xp_gained)

    async def _session_id(self, caller: Identity, requested_id: str | None) -> tuple[str, bool]:
        """The session id to use, and whether the caller already has that session.

        An id that belongs to another user is replaced by a new one.
        """
        if requested_id is not None:
            if await self.store.session(caller, requested_id) is not None:
                return requested_id, True
            if not await self.store.belongs_to_another(caller, requested_id):
                return requested_id, False
        return f"session_{uuid4()}", False

    async def _generate_previews(
        self,
        data: dict[str, Any],
        content_check: ContentCheck,
        known: KnownTitles,
        ids: list[str],
        progress: ProgressListener,
    ) -> Previews:
        def check(generated: Previews) -> None:
            content_check.check_previews(generated)
            if not known.new_previews(generated.recipes):
                raise ValueError("nothing new")

        def item_json(n: int, preview: Preview) -> dict[str, Any] | None:
            return None if preview.title in known else {"id": ids[n], **as_json(preview)}

        return await self.model.generate(
            PREVIEWS,
            data,
            progress,
            seconds=self.deadlines.model_seconds,
            check=check,
            check_item=content_check.check_preview,
            item_json=item_json,
        )

    async def _store_previews(
        self,
        caller: Identity,
        session_id: str,
        ingredients: list[str],
        preferences: PreviewPreferences,
        previews: list[tuple[str, Preview]],
    ) -> tuple[list[RecipePreviewRow], Award]:
        async with self.database.transaction_as(caller) as tx:
            created = await self.store.save_session(
                tx, caller, session_id, ingredients, preferences.json(), len(previews)
            )
            if created:
                await self.usage.consume(tx, caller)
            stored = await self.store.add_previews(tx, caller, session_id, previews)
            award = await self.usage.xp.award(
                tx,
                caller.user_id,
                "recipe_previews_generated",
                subject=session_id,
                metadata={
                    "session_id": session_id,
                    "previews_count": len(stored),
                    "ingredients_count": len(ingredients),
                },
            )
        return stored, award

    async def detailed_recipe(
        self,
        caller: Identity,
        session_id: str,
        selected: SelectedPreview,
        progress: ProgressListener,
    ) -> DetailedRecipeResult:
        """Generate and store the recipe of a preview, once per (user, session, preview).

        A concurrent repeat gets the same result; a later one gets the stored recipe and no XP.
        Raises NotFound for a session that is not the caller's, ValidationError for an unknown
        preview without a title, InternalError when the recipe cannot be stored, and what the
        model's client raises.
        """

        async def run() -> DetailedRecipeResult:
            return await self._detailed_recipe(caller, session_id, selected, progress)

        return await self._detail_runs.run((caller.user_id, session_id, selected.id), None, run)

    async def _detailed_recipe(
        self,
        caller: Identity,
        session_id: str,
        selected: SelectedPreview,
        progress: ProgressListener,
    ) -> DetailedRecipeResult:
        key = detailed_recipe_key(session_id, selected.id)
        async with self.database.transaction_as(caller) as tx:
            session = await self.store.lock_session(tx, caller, session_id)
            if session is None:
                raise cooking_session_not_found()
            recipe = await self.recipes.find_generated(tx, caller, key)
        award = None
        if recipe is None:
            stored = await self.store.preview(caller, session_id, selected.id)
            if stored is not None:
                selected = SelectedPreview.of(stored)
            elif not selected.title:
                raise preview_required()
            row = await self._generate_details(session, selected, progress)
            progress.stage("storing")
            with storage_errors_as("Failed to store detailed recipe"):
                recipe, award = await self._store_details(caller, session_id, selected.id, row)
        if award is not None:
            progress.item("recipe", detailed_recipe_json(recipe))
        stored = await self.recipes.get_json(caller, recipe.id)
        return DetailedRecipeResult(recipe, stored, 0 if award is None else award.xp_gained)

    async def _generate_details(
        self, session: CookingSession, selected: SelectedPreview, progress: ProgressListener
    ) -> GeneratedContent:
        preferences = session.user_preferences
        data = {
            **preferences,
            "detectedIngredients": session.original_ingredients,
            "chosen": selected.json(),
        }
        data.pop("excludeRecipes", None)
        check = ContentCheck(tuple(preferences.get("dislikedIngredients", ())))
        recipe = await self.model.generate(
            DETAILED_RECIPE,
            data,
            progress,
            seconds=self.deadlines.model_seconds,
            check=check.check_detailed_recipe,
            check_item=check.check_step,
        )
        return detailed_recipe_row(recipe, session.session_id, selected.id)

    async def _store_details(
        self, caller: Identity, session_id: str, preview_id: str, row: GeneratedContent
    ) -> tuple[Recipe, Award | None]:
        """Store the recipe and award XP.

        Returns the stored recipe and no award when another instance was first.
        """
        async with self.database.transaction_as(caller) as tx:
            if await self.store.lock_session(tx, caller, session_id) is None:
                raise cooking_session_not_found()
            existing = await self.recipes.find_generated(
                tx, caller, detailed_recipe_key(session_id, preview_id)
            )
            if existing is not None:
                return existing, None
            (recipe,) = await self.recipes.add_generated(tx, caller, [row])
            await self.store.complete_session(tx, caller, session_id, preview_id, recipe.id)
            award = await self.usage.xp.award(
                tx,
                caller.user_id,
                "detailed_recipe_generated",
                subject=f"{session_id}:{preview_id}",
                metadata={
                    "session_id": session_id,
                    "recipe_id": str(recipe.id),
                    "recipe_title": recipe.title,
                },
            )
        return recipe, award


def cooking_session_not_found() -> NotFound:
    return NotFound("Cooking session not found", error="Cooking session not found", details={})
