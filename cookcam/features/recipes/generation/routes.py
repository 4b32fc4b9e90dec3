"""Routes that generate recipes with the language model.

All but the variations can stream their progress as server-sent events; see `streaming`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import frozen

from cookcam.features.operations.idempotency.guard import document_key, idempotent
from cookcam.features.recipes.catalogue.service import recipe_not_found
from cookcam.features.recipes.generation.diverse_recipes import DiverseRecipesService
from cookcam.features.recipes.generation.previews import PreviewService
from cookcam.features.recipes.generation.recipe_model import ProgressListener
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
from cookcam.features.recipes.generation.streaming import EVENT_STREAM, GenerationResponder
from cookcam.features.recipes.generation.suggestions import SuggestionService
from cookcam.features.recipes.generation.variations import VariationService
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

View = Callable[..., Awaitable[Any]]

SUGGESTIONS = Dialect(unexpected="Failed to generate recipe suggestions")
FULL_RECIPE = Dialect(unexpected="Failed to generate full recipe")
SMART_NUTRITION = Dialect(unexpected="Failed to generate recipe with smart nutrition")
DIVERSE_RECIPES = Dialect(flagged=True, unexpected="Failed to generate diverse recipes")
PREVIEWS = Dialect(flagged=True, unexpected="Failed to generate recipe previews")
DETAILED = Dialect(flagged=True, unexpected="Failed to generate detailed recipe")
VARIATIONS = Dialect(flagged=True, unexpected="Failed to generate recipe variations")


@frozen
class Generation:
    """The services that call the model for recipes.

    Each request ends with one transaction for its rows, quota and XP, so a cancelled request has
    stored nothing.
    """

    suggestions: SuggestionService
    diverse_recipes: DiverseRecipesService
    previews: PreviewService
    variations: VariationService


def routes(generation: Generation, responder: GenerationResponder) -> Routes:
    bp = Routes("generation", __name__, legacy=True)
    _suggestions(bp, generation, responder)
    _diverse_recipes(bp, generation, responder)
    _previews(bp, generation, responder)
    _variations(bp, generation, responder)
    return bp


def _suggestions(bp: Routes, generation: Generation, responder: GenerationResponder) -> None:
    service = generation.suggestions
    seconds = service.deadlines.request_seconds

    @bp.post("/recipes/suggestions")
    @_streamable(SUGGESTIONS, seconds)
    @validate_request(SuggestionsRequest)
    @document_response(SuggestionsResponse)
    async def suggest(caller: Identity, data: SuggestionsRequest) -> Any:
        """Suggest three recipes.

        `Accept: text/event-stream` streams the progress.
        """
        preferences = data.preferences()
        await _spend(caller)

        async def run(progress: ProgressListener) -> tuple[Any, int]:
            result = await service.suggest(caller, preferences, progress)
            return SuggestionsResponse.of(result), 200

        return await responder.respond(
            caller, "suggestions", run, seconds=seconds, dialect=SUGGESTIONS
        )

    @bp.post("/recipes/generate-full")
    @_streamable(FULL_RECIPE, seconds)
    @document_failures(404)
    @validate_request(FullRecipeRequest)
    @document_response(FullRecipeResponse)
    async def generate_full(caller: Identity, data: FullRecipeRequest) -> Any:
        """Generate and store the full recipe of a suggestion.

        `Accept: text/event-stream` streams the progress.
        """
        title, session_id = data.title(), data.session()
        original = data.source() if session_id is None else None
        await _spend(caller)

        async def run(progress: ProgressListener) -> tuple[Any, int]:
            source = original or await service.suggestion_session(caller, session_id or "")
            result = await service.full_recipe(caller, title, source, progress)
            return FullRecipeResponse.of(result), 200

        return await responder.respond(
            caller, "generate-full", run, seconds=seconds, dialect=FULL_RECIPE
        )

    @bp.post("/recipes/generate-full-with-smart-nutrition")
    @_streamable(SMART_NUTRITION, seconds)
    @document_failures(404)
    @validate_request(SmartNutritionRecipeRequest)
    @document_response(SmartNutritionRecipeResponse)
    async def generate_with_smart_nutrition(
        caller: Identity, data: SmartNutritionRecipeRequest
    ) -> Any:
        """Generate and store a full recipe with nutrition calculated from the ingredient catalogue.

        `Accept: text/event-stream` streams the progress.
        """
        session_id, title = data.session(), data.title()
        await _spend(caller)

        async def run(progress: ProgressListener) -> tuple[Any, int]:
            source = await service.any_session(caller, session_id)
            result = await service.smart_nutrition_recipe(caller, title, source, progress)
            return SmartNutritionRecipeResponse.of(result), 200

        return await responder.respond(
            caller, "generate-weighed", run, seconds=seconds, dialect=SMART_NUTRITION
        )


def _diverse_recipes(bp: Routes, generation: Generation, responder: GenerationResponder) -> None:
    service = generation.diverse_recipes
    seconds = service.deadlines.request_seconds

    @bp.post("/recipes/generate")
    @_streamable(DIVERSE_RECIPES, seconds)
    @validate_request(GeneratedRecipesRequest)
    @document_response(GeneratedRecipesResponse, 201)
    async def generate(caller: Identity, data: GeneratedRecipesRequest) -> Any:
        """Generate and store three different complete recipes.

        `Accept: text/event-stream` streams the progress.
        """
        recipes_input = data.recipes_input()
        await _spend(caller)

        async def run(progress: ProgressListener) -> tuple[Any, int]:
            result = await service.generate(caller, recipes_input, progress)
            return GeneratedRecipesResponse.of(result), 201

        return await responder.respond(
            caller, "generate", run, seconds=seconds, dialect=DIVERSE_RECIPES
        )


def _previews(bp: Routes, generation: Generation, responder: GenerationResponder) -> None:
    service = generation.previews
    seconds = service.deadlines.request_seconds

    @bp.post("/recipes/generate-previews")
    @_streamable(PREVIEWS, seconds)
    @validate_request(RecipePreviewsRequest)
    @document_response(RecipePreviewsResponse, 201)
    async def generate_previews(caller: Identity, data: RecipePreviewsRequest) -> Any:
        """Generate up to three previews; a repeat within 5 minutes returns the same previews.

        `Accept: text/event-stream` streams the progress.
        """
        ingredients, preferences = data.ingredients(), data.preferences()
        session_id = data.session()
        await _spend(caller)

        async def run(progress: ProgressListener) -> tuple[Any, int]:
            result = await service.previews(caller, ingredients, preferences, session_id, progress)
            return RecipePreviewsResponse.of(result), 201

        return await responder.respond(
            caller, "generate-previews", run, seconds=seconds, dialect=PREVIEWS
        )

    @bp.post("/recipes/generate-detailed")
    @_streamable(DETAILED, seconds)
    @document_failures(404)
    @validate_request(DetailedRecipeRequest)
    @document_response(DetailedRecipeResponse, 201)
    async def generate_detailed(caller: Identity, data: DetailedRecipeRequest) -> Any:
        """Generate the recipe of a preview; a repeat returns the stored recipe.

        `Accept: text/event-stream` streams the progress.
        """
        selected, session_id = data.selected(), data.session()
        await _spend(caller)

        async def run(progress: ProgressListener) -> tuple[Any, int]:
            result = await service.detailed_recipe(caller, session_id, selected, progress)
            return DetailedRecipeResponse.of(result), 201

        return await responder.respond(
            caller, "generate-detailed", run, seconds=seconds, dialect=DETAILED
        )


def _variations(bp: Routes, generation: Generation, responder: GenerationResponder) -> None:
    service = generation.variations

    @bp.post("/recipes/<recipe_id>/variations")
    @_use_dialect(VARIATIONS)
    @deadline(service.deadlines.request_seconds)
    @signed_in
    @idempotent(responder.replies)
    @validate_request(RecipeVariationsRequest)
    @validate_response(RecipeVariationsResponse)
    async def vary(
        caller: Identity, recipe_id: str, data: RecipeVariationsRequest
    ) -> RecipeVariationsResponse:
        """Generate variations of the caller's recipe along themes; not stored."""
        count, parsed_id = data.number(), parse_uuid(recipe_id, recipe_not_found())
        await _spend(caller)
        return RecipeVariationsResponse.of(await service.vary(caller, parsed_id, count))


def _streamable(dialect: Dialect, seconds: float) -> Callable[[View], View]:
    """A route for signed-in users that replies as a whole or as a stream, and takes an
    `Idempotency-Key`: `GenerationResponder.respond`."""

    def decorate(view: View) -> View:
        limited = deadline(seconds)(_use_dialect(dialect)(signed_in(view)))
        return document_content(EVENT_STREAM)(document_key(limited))

    return decorate


def _use_dialect(dialect: Dialect) -> Callable[[View], View]:
    return lambda view: set_route_options(view, dialect=dialect)


async def _spend(caller: Identity) -> None:
    """Charge one request to the rate limit that all generation routes share."""
    await count_costly("generation", caller.user_id)
