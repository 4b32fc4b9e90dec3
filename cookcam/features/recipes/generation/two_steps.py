"""Previews, then one of them in detail: 9.5 and 9.6 of `spec/http-api-core.md`.

The app repeats both requests up to three times when an answer is lost, so both are safe to repeat
(`spec/client-contract.md` §2.1): a repeat joins the first one, or gets what it stored.
"""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import uuid4

import orjson
from attrs import field, frozen

from cookcam.database import Database
from cookcam.errors import NotFound, ValidationError
from cookcam.features.literals import rejected_field
from cookcam.features.recipes.catalogue.models import GeneratedContent, Recipe
from cookcam.features.recipes.catalogue.service import Recipes
from cookcam.features.recipes.generation.checks import Shown, Taboo
from cookcam.features.recipes.generation.chef import Chef
from cookcam.features.recipes.generation.contracts import C4, C5, Preview, Previews, wire
from cookcam.features.recipes.generation.flights import Flights
from cookcam.features.recipes.generation.ledger import Ledger
from cookcam.features.recipes.generation.models import (
    ChosenPreview,
    CookingSession,
    Deadlines,
    Detailed,
    Preferences,
    Previewed,
    StoredPreview,
)
from cookcam.features.recipes.generation.progress import Watch
from cookcam.features.recipes.generation.rows import detailed_key, detailed_of, detailed_row
from cookcam.features.recipes.generation.store import SessionStore
from cookcam.features.recipes.generation.storing import storing
from cookcam.features.rewards.xp.models import Award
from cookcam.identity import Identity

REPEAT_SECONDS = 300.0
"""How long the previews of a question are the answer to the same question again."""


@frozen
class TwoStepService:
    database: Database
    store: SessionStore
    chef: Chef
    recipes: Recipes
    ledger: Ledger
    deadlines: Deadlines
    _previewing: Flights = field(factory=Flights, init=False)
    _detailing: Flights = field(factory=Flights, init=False)

    # -- step 1

    async def previews(
        self,
        caller: Identity,
        ingredients: list[str],
        wishes: Preferences,
        session_id: str | None,
        watch: Watch,
    ) -> Previewed:
        """Up to three previews, none of which the session or `wishes.exclude` has had.

        One generation at a time for a user's session, or for the same question without one. The
        first of a session counts against the quota. Raises LimitReached (403), InternalError when
        they cannot be stored, and what the model's client raises.
        """
        content = hashlib.sha256(orjson.dumps([ingredients, wishes.json()])).digest()

        async def run() -> Previewed:
            return await self._previews(caller, ingredients, wishes, session_id, watch)

        key = caller.user_id, session_id or content
        return await self._previewing.join(key, content, run)

    async def _previews(
        self,
        caller: Identity,
        ingredients: list[str],
        wishes: Preferences,
        asked_id: str | None,
        watch: Watch,
    ) -> Previewed:
        earlier = await self.store.recent(
            caller, asked_id, ingredients, wishes.json(), REPEAT_SECONDS
        )
        if earlier:
            return Previewed(earlier[0].session_id, earlier, 0)
        session_id, known = await self._session_id(caller, asked_id)
        if not known:
            await self.ledger.require_room(caller)
        shown_before = await self.store.titles(caller, session_id) if known else []
        seen = Shown.of([*wishes.exclude, *shown_before])
        ids = [str(uuid4()) for _ in range(3)]
        answer = await self._offer(ingredients, wishes, shown_before, seen, ids, watch)
        fresh = [(ids[n], preview) for n, preview in seen.fresh(answer.recipes)]
        watch.stage("storing")
        with storing("Failed to generate recipe previews"):
            stored, award = await self._store_previews(
                caller, session_id, ingredients, wishes, fresh
            )
        self.ledger.announce(award)
        return Previewed(session_id, stored, award.xp_gained)

    async def _session_id(self, caller: Identity, asked_id: str | None) -> tuple[str, bool]:
        """The id to use, and whether the caller has such a session."""
        if asked_id is not None:
            if await self.store.session(caller, asked_id) is not None:
                return asked_id, True
            if not await self.store.is_foreign(caller, asked_id):
                return asked_id, False
        return f"session_{uuid4()}", False

    async def _offer(
        self,
        ingredients: list[str],
        wishes: Preferences,
        shown_before: list[str],
        seen: Shown,
        ids: list[str],
        watch: Watch,
    ) -> Previews:
        taboo = Taboo(tuple(wishes.disliked))

        def check(answer: Previews) -> None:
            taboo.check_previews(answer)
            if not seen.fresh(answer.recipes):
                raise ValueError("nothing new")

        def show(n: int, preview: Preview) -> dict[str, Any] | None:
            return None if seen.has(preview) else preview_json(ids[n], preview)

        data = {**wishes.json(), "detectedIngredients": ingredients}
        data["excludeRecipes"] = list(dict.fromkeys([*wishes.exclude, *shown_before]))
        return await self.chef.ask(
            C4,
            data,
            watch,
            seconds=self.deadlines.model,
            check=check,
            check_item=taboo.check_preview,
            show=show,
        )

    async def _store_previews(
        self,
        caller: Identity,
        session_id: str,
        ingredients: list[str],
        wishes: Preferences,
        previews: list[tuple[str, Preview]],
    ) -> tuple[list[StoredPreview], Award]:
        async with self.database.transaction_as(caller) as tx:
            fresh = await self.store.save(
                tx, caller, session_id, ingredients, wishes.json(), len(previews)
            )
            if fresh:
                await self.ledger.count(tx, caller)
            stored = await self.store.add_previews(tx, caller, session_id, previews)
            award = await self.ledger.award(
                tx,
                caller,
                "recipe_previews_generated",
                session_id,
                {
                    "session_id": session_id,
                    "previews_count": len(stored),
                    "ingredients_count": len(ingredients),
                },
            )
        return stored, award

    # -- step 2

    async def detailed(
        self, caller: Identity, session_id: str, chosen: ChosenPreview, watch: Watch
    ) -> Detailed:
        """The recipe of a preview: one for each (user, session, preview), however often it is
        asked for. Who asks while it is being written gets the same result; who asks later gets the
        stored recipe and no XP.

        Raises NotFound for a session that is not the caller's, ValidationError for a preview that
        is neither known nor has a title, InternalError when the recipe
        cannot be stored, and what the model's client raises.
        """

        async def run() -> Detailed:
            return await self._detailed(caller, session_id, chosen, watch)

        key = caller.user_id, session_id, chosen.id
        return await self._detailing.join(key, None, run)

    async def _detailed(
        self, caller: Identity, session_id: str, chosen: ChosenPreview, watch: Watch
    ) -> Detailed:
        async with self.database.transaction_as(caller) as tx:
            session = await self.store.lock(tx, caller, session_id)
            if session is None:
                raise cooking_session_not_found()
            earlier = await self.recipes.find_generated(
                tx, caller, detailed_key(session_id, chosen.id)
            )
        if earlier is not None:
            return await self._shown(caller, earlier, 0)
        known = await self.store.preview(caller, session_id, chosen.id)
        if known is None and not chosen.title:
            raise preview_required()
        preview = chosen if known is None else _chosen(known)
        row = await self._write(session, preview, watch)
        watch.stage("storing")
        with storing("Failed to store detailed recipe"):
            recipe, award = await self._store_detailed(caller, session_id, chosen.id, row)
        if award is None:
            return await self._shown(caller, recipe, 0)
        self.ledger.announce(award)
        watch.item("recipe", detailed_of(recipe))
        return await self._shown(caller, recipe, award.xp_gained)

    async def _write(
        self, session: CookingSession, preview: ChosenPreview, watch: Watch
    ) -> GeneratedContent:
        wishes = session.user_preferences
        data = {
            **wishes,
            "detectedIngredients": session.original_ingredients,
            "chosen": preview.json(),
        }
        data.pop("excludeRecipes", None)
        taboo = Taboo(tuple(wishes.get("dislikedIngredients", ())))
        recipe = await self.chef.ask(
            C5,
            data,
            watch,
            seconds=self.deadlines.model,
            check=taboo.check_detailed,
            check_item=taboo.check_step,
        )
        return detailed_row(recipe, session.session_id, preview.id)

    async def _store_detailed(
        self, caller: Identity, session_id: str, preview_id: str, row: GeneratedContent
    ) -> tuple[Recipe, Award | None]:
        """The new recipe and its award; or the one that another instance stored meanwhile."""
        async with self.database.transaction_as(caller) as tx:
            if await self.store.lock(tx, caller, session_id) is None:
                raise cooking_session_not_found()
            earlier = await self.recipes.find_generated(
                tx, caller, detailed_key(session_id, preview_id)
            )
            if earlier is not None:
                return earlier, None
            (recipe,) = await self.recipes.add_generated(tx, caller, [row])
            await self.store.complete(tx, caller, session_id, preview_id, recipe.id)
            award = await self.ledger.award(
                tx,
                caller,
                "detailed_recipe_generated",
                f"{session_id}:{preview_id}",
                {
                    "session_id": session_id,
                    "recipe_id": str(recipe.id),
                    "recipe_title": recipe.title,
                },
            )
        return recipe, award

    async def _shown(self, caller: Identity, recipe: Recipe, xp_awarded: int) -> Detailed:
        (shown,) = await self.recipes.shown(caller, [recipe])
        return Detailed(shown, xp_awarded)


def preview_json(preview_id: str, preview: Preview) -> dict[str, Any]:
    """`RecipePreview` of §9.1."""
    return {"id": preview_id, **wire(preview)}


def preview_required() -> ValidationError:
    return rejected_field("Selected preview recipe is required", "selectedPreview")


def cooking_session_not_found() -> NotFound:
    return NotFound("Cooking session not found", error="Cooking session not found", details={})


def _chosen(known: StoredPreview) -> ChosenPreview:
    return ChosenPreview(
        known.preview_id,
        known.title,
        known.description or "",
        known.estimated_time,
        known.difficulty,
        known.cuisine_type,
        known.main_ingredients,
        known.appeal_factors,
    )
