"""`/recipes/...`: what a language model writes (`spec/http-api-core.md` §9.2-§9.8).

All but the variations answer with a stream to `Accept: text/event-stream`; see `streaming`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from cookcam.features.operations.idempotency.guard import document_key, idempotent
from cookcam.features.recipes.catalogue.service import recipe_not_found
from cookcam.features.recipes.generation.progress import Watch
from cookcam.features.recipes.generation.requests import (
    DetailedRecipeRequest,
    FullRecipeRequest,
    GeneratedRecipesRequest,
    RecipePreviewsRequest,
    RecipeVariationsRequest,
    SmartNutritionRecipeRequest,
    SuggestionsRequest,
)
from cookcam.features.recipes.generation.responses import (
    DetailedRecipeResponse,
    FullRecipeResponse,
    GeneratedRecipesResponse,
    RecipePreviewsResponse,
    RecipeVariationsResponse,
    SmartNutritionRecipeResponse,
    SuggestionsResponse,
)
from cookcam.features.recipes.generation.service import Generation
from cookcam.features.recipes.generation.streaming import Tellers
from cookcam.http import (
    Routes,
    deadline,
    document_content,
    document_failures,
    document_response,
    parse_uuid,
    validate_request,
    validate_response,
)
from cookcam.http.quotas import count_costly
from cookcam.http.route_options import Dialect, set_route_options
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in

F = TypeVar("F", bound=Callable[..., Any])

SUGGESTIONS = Dialect(unexpected="Failed to generate recipe suggestions")
FULL = Dialect(unexpected="Failed to generate full recipe")
WEIGHED = Dialect(unexpected="Failed to generate recipe with smart nutrition")
MENU = Dialect(flagged=True, unexpected="Failed to generate diverse recipes")
PREVIEWS = Dialect(flagged=True, unexpected="Failed to generate recipe previews")
DETAILED = Dialect(flagged=True, unexpected="Failed to generate detailed recipe")
VARIATIONS = Dialect(flagged=True, unexpected="Failed to generate recipe variations")


def routes(generation: Generation, tellers: Tellers) -> Routes:
    bp = Routes("generation", __name__, legacy=True)
    _ideas(bp, generation, tellers)
    _menus(bp, generation, tellers)
    _two_steps(bp, generation, tellers)
    _variations(bp, generation, tellers)
    return bp


def _ideas(bp: Routes, generation: Generation, tellers: Tellers) -> None:
    ideas = generation.ideas
    seconds = ideas.deadlines.whole

    @bp.post("/recipes/suggestions")
    @_worded(SUGGESTIONS)
    @deadline(seconds)
    @signed_in
    @validate_request(SuggestionsRequest)
    @document_response(SuggestionsResponse)
    @document_content("text/event-stream")
    @document_key
    async def suggest(caller: Identity, data: SuggestionsRequest) -> Any:
        """Three teasers of what could be cooked.

        `Accept: text/event-stream` lets the caller watch.
        """
        wishes = data.ideas()
        _spend(caller)

        async def run(watch: Watch) -> tuple[Any, int]:
            return SuggestionsResponse.of(await ideas.suggest(caller, wishes, watch)), 200

        return await tellers.answer(
            caller, "suggestions", run, seconds=seconds, dialect=SUGGESTIONS
        )

    @bp.post("/recipes/generate-full")
    @_worded(FULL)
    @deadline(seconds)
    @signed_in
    @document_failures(404)
    @validate_request(FullRecipeRequest)
    @document_response(FullRecipeResponse)
    @document_content("text/event-stream")
    @document_key
    async def generate_full(caller: Identity, data: FullRecipeRequest) -> Any:
        """The full recipe of a teaser, stored.

        `Accept: text/event-stream` lets the caller watch.
        """
        title, session_id = data.title(), data.session()
        brief = data.brief() if session_id is None else None
        _spend(caller)

        async def run(watch: Watch) -> tuple[Any, int]:
            known = brief or await ideas.brief_of_ideas(caller, session_id or "")
            return FullRecipeResponse.of(await ideas.full(caller, title, known, watch)), 200

        return await tellers.answer(caller, "generate-full", run, seconds=seconds, dialect=FULL)

    @bp.post("/recipes/generate-full-with-smart-nutrition")
    @_worded(WEIGHED)
    @deadline(seconds)
    @signed_in
    @document_failures(404)
    @validate_request(SmartNutritionRecipeRequest)
    @document_response(SmartNutritionRecipeResponse)
    @document_content("text/event-stream")
    @document_key
    async def generate_weighed(caller: Identity, data: SmartNutritionRecipeRequest) -> Any:
        """The same, with the nutrition that the catalogue of foods gives.

        `Accept: text/event-stream` lets the caller watch.
        """
        session_id, title = data.session(), data.title()
        _spend(caller)

        async def run(watch: Watch) -> tuple[Any, int]:
            brief = await ideas.brief_of_any(caller, session_id)
            return SmartNutritionRecipeResponse.of(
                await ideas.weighed(caller, title, brief, watch)
            ), 200

        return await tellers.answer(
            caller, "generate-weighed", run, seconds=seconds, dialect=WEIGHED
        )


def _menus(bp: Routes, generation: Generation, tellers: Tellers) -> None:
    menus = generation.menus
    seconds = menus.deadlines.whole

    @bp.post("/recipes/generate")
    @_worded(MENU)
    @deadline(seconds)
    @signed_in
    @validate_request(GeneratedRecipesRequest)
    @document_response(GeneratedRecipesResponse, 201)
    @document_content("text/event-stream")
    @document_key
    async def generate(caller: Identity, data: GeneratedRecipesRequest) -> Any:
        """Three different complete recipes, stored.

        `Accept: text/event-stream` lets the caller watch.
        """
        wishes = data.wishes()
        _spend(caller)

        async def run(watch: Watch) -> tuple[Any, int]:
            return GeneratedRecipesResponse.of(await menus.compose(caller, wishes, watch)), 201

        return await tellers.answer(caller, "generate", run, seconds=seconds, dialect=MENU)


def _two_steps(bp: Routes, generation: Generation, tellers: Tellers) -> None:
    steps = generation.two_steps
    seconds = steps.deadlines.whole

    @bp.post("/recipes/generate-previews")
    @_worded(PREVIEWS)
    @deadline(seconds)
    @signed_in
    @validate_request(RecipePreviewsRequest)
    @document_response(RecipePreviewsResponse, 201)
    @document_content("text/event-stream")
    @document_key
    async def generate_previews(caller: Identity, data: RecipePreviewsRequest) -> Any:
        """Step 1: up to three previews. The same question within 5 minutes has the same answer.

        `Accept: text/event-stream` lets the caller watch.
        """
        ingredients, wishes = data.ingredients(), data.preferences()
        session_id = data.session()
        _spend(caller)

        async def run(watch: Watch) -> tuple[Any, int]:
            found = await steps.previews(caller, ingredients, wishes, session_id, watch)
            return RecipePreviewsResponse.of(found), 201

        return await tellers.answer(
            caller, "generate-previews", run, seconds=seconds, dialect=PREVIEWS
        )

    @bp.post("/recipes/generate-detailed")
    @_worded(DETAILED)
    @deadline(seconds)
    @signed_in
    @document_failures(404)
    @validate_request(DetailedRecipeRequest)
    @document_response(DetailedRecipeResponse, 201)
    @document_content("text/event-stream")
    @document_key
    async def generate_detailed(caller: Identity, data: DetailedRecipeRequest) -> Any:
        """Step 2: the recipe of one preview, stored once however often it is asked for.

        `Accept: text/event-stream` lets the caller watch.
        """
        chosen, session_id = data.chosen(), data.session()
        _spend(caller)

        async def run(watch: Watch) -> tuple[Any, int]:
            found = await steps.detailed(caller, session_id, chosen, watch)
            return DetailedRecipeResponse.of(found), 201

        return await tellers.answer(
            caller, "generate-detailed", run, seconds=seconds, dialect=DETAILED
        )


def _variations(bp: Routes, generation: Generation, tellers: Tellers) -> None:
    variations = generation.variations

    @bp.post("/recipes/<recipe_id>/variations")
    @_worded(VARIATIONS)
    @deadline(variations.deadlines.whole)
    @signed_in
    @idempotent(tellers.replies)
    @validate_request(RecipeVariationsRequest)
    @validate_response(RecipeVariationsResponse)
    async def vary(
        caller: Identity, recipe_id: str, data: RecipeVariationsRequest
    ) -> RecipeVariationsResponse:
        """Variations of one's own recipe along themes; not stored."""
        count, known = data.wanted(), parse_uuid(recipe_id, recipe_not_found())
        _spend(caller)
        return RecipeVariationsResponse.of(await variations.vary(caller, known, count))


def _worded(dialect: Dialect) -> Callable[[F], F]:
    return lambda view: set_route_options(view, dialect=dialect)


def _spend(caller: Identity) -> None:
    """One request of the caller's bucket for everything that the model is paid for here."""
    count_costly("generation", caller.user_id)
