"""All generation services, built together."""

from __future__ import annotations

from attrs import frozen

from cookcam.database import Database
from cookcam.features.billing.tiers.quotas import Quotas
from cookcam.features.food.nutrition.service import SmartNutritionService
from cookcam.features.recipes.catalogue.service import Recipes
from cookcam.features.recipes.generation.diverse_recipes import DiverseRecipesService
from cookcam.features.recipes.generation.models import Deadlines
from cookcam.features.recipes.generation.previews import PreviewService
from cookcam.features.recipes.generation.recipe_model import RecipeModel
from cookcam.features.recipes.generation.store import SessionStore
from cookcam.features.recipes.generation.suggestions import SuggestionService
from cookcam.features.recipes.generation.usage import GenerationUsage
from cookcam.features.recipes.generation.variations import VariationService
from cookcam.features.rewards.xp.service import Xp
from cookcam.integrations.openai import OpenAI


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

    @classmethod
    def of(
        cls,
        database: Database,
        openai: OpenAI,
        recipes: Recipes,
        smart: SmartNutritionService,
        quotas: Quotas,
        xp: Xp,
        *,
        seconds: float,
        menu_seconds: float,
    ) -> Generation:
        """`seconds` limits a request, `menu_seconds` a request for three complete recipes."""
        store, model, usage = (
            SessionStore(database),
            RecipeModel(openai),
            GenerationUsage(quotas, xp),
        )
        usual = Deadlines(seconds)
        return cls(
            SuggestionService(database, store, model, recipes, smart, usage, usual),
            DiverseRecipesService(database, model, recipes, usage, Deadlines(menu_seconds)),
            PreviewService(database, store, model, recipes, usage, usual),
            VariationService(database, model, recipes, usage, usual),
        )
