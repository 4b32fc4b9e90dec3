"""The generation, put together."""

from __future__ import annotations

from attrs import frozen

from cookcam.database import Database
from cookcam.features.billing.tiers.quotas import Quotas
from cookcam.features.food.nutrition.service import SmartNutritionService
from cookcam.features.recipes.catalogue.service import Recipes
from cookcam.features.recipes.generation.chef import Chef
from cookcam.features.recipes.generation.ideas import IdeasService
from cookcam.features.recipes.generation.ledger import Ledger
from cookcam.features.recipes.generation.menus import MenuService
from cookcam.features.recipes.generation.models import Deadlines
from cookcam.features.recipes.generation.store import SessionStore
from cookcam.features.recipes.generation.two_steps import TwoStepService
from cookcam.features.recipes.generation.variations import VariationService
from cookcam.features.rewards.xp.service import Xp
from cookcam.integrations.openai import OpenAI


@frozen
class Generation:
    """Everything that asks the model for recipes.

    Whatever is cancelled, by a deadline or because the client left, has stored nothing: each
    request ends in one transaction with its rows, its quota and its XP.
    """

    ideas: IdeasService
    menus: MenuService
    two_steps: TwoStepService
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
        """`seconds` bound a request, `menu_seconds` one for three complete recipes."""
        store, chef, ledger = SessionStore(database), Chef(openai), Ledger(quotas, xp)
        usual = Deadlines(seconds)
        return cls(
            IdeasService(database, store, chef, recipes, smart, ledger, usual),
            MenuService(database, chef, recipes, ledger, Deadlines(menu_seconds)),
            TwoStepService(database, store, chef, recipes, ledger, usual),
            VariationService(database, chef, recipes, ledger, usual),
        )
