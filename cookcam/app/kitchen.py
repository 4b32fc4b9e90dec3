"""Food: recipes and what is done with them, scans and their boxes, ingredients, nutrition,
generation."""

from __future__ import annotations

import secrets

from attrs import frozen

from cookcam.app.ground import Ground
from cookcam.app.membership import Membership
from cookcam.app.people import People
from cookcam.app.providers import Providers
from cookcam.features.billing.ledger.gifts import Gifts
from cookcam.features.food.ingredients import routes as ingredient_routes
from cookcam.features.food.ingredients.service import Ingredients
from cookcam.features.food.ingredients.store import IngredientStore
from cookcam.features.food.nutrition import routes as nutrition_routes
from cookcam.features.food.nutrition.service import RecipesNutrition, SmartNutritionService
from cookcam.features.food.nutrition.store import NutritionStore
from cookcam.features.food.scans import routes as scan_routes
from cookcam.features.food.scans.service import Scans
from cookcam.features.food.scans.store import ScanStore
from cookcam.features.food.scans.vision import Vision
from cookcam.features.operations.idempotency.service import Replies
from cookcam.features.operations.idempotency.store import ReplyStore
from cookcam.features.recipes.catalogue import routes as recipe_routes
from cookcam.features.recipes.catalogue.service import Recipes
from cookcam.features.recipes.catalogue.store import RecipeStore
from cookcam.features.recipes.generation import routes as generation_routes
from cookcam.features.recipes.generation.service import Generation
from cookcam.features.recipes.generation.streaming import GenerationResponder
from cookcam.features.recipes.photos import routes as photo_routes
from cookcam.features.recipes.photos.service import CompletionPhotos
from cookcam.features.recipes.photos.store import PhotoStore
from cookcam.features.recipes.ratings import routes as rating_routes
from cookcam.features.recipes.ratings.service import Ratings
from cookcam.features.recipes.ratings.store import RatingStore
from cookcam.features.recipes.saving import routes as saving_routes
from cookcam.features.recipes.saving.service import Saving
from cookcam.features.recipes.saving.store import SavingStore
from cookcam.features.rewards.mystery_boxes import routes as box_routes
from cookcam.features.rewards.mystery_boxes.service import MysteryBoxes
from cookcam.features.rewards.mystery_boxes.store import BoxStore
from cookcam.http import Routes
from cookcam.realtime.hub import Hub


@frozen
class Kitchen:
    recipes: Recipes
    saving: Saving
    ratings: Ratings
    photos: CompletionPhotos
    ingredients: Ingredients
    smart_nutrition: SmartNutritionService
    nutrition: RecipesNutrition
    generation: Generation
    tellers: GenerationResponder
    scans: Scans
    boxes: MysteryBoxes
    replies: Replies

    @classmethod
    def of(
        cls,
        ground: Ground,
        providers: Providers,
        membership: Membership,
        people: People,
        hub: Hub,
    ) -> Kitchen:
        """A user hears on `hub` how a generation goes."""
        database, bounds = ground.database, ground.config.generation
        openai, storage = providers.openai, providers.storage
        cache, images = providers.cache, providers.images
        quotas, xp = membership.quotas, membership.xp
        replies = Replies(ReplyStore(database))

        recipes = Recipes(RecipeStore(database), people.profiles, cache)
        ingredients = Ingredients(IngredientStore(database), providers.usda, cache)
        smart_nutrition = SmartNutritionService(ingredients, cache)
        return cls(
            recipes=recipes,
            saving=Saving(SavingStore(database), recipes, quotas, xp),
            ratings=Ratings(RatingStore(database), recipes),
            photos=CompletionPhotos(
                PhotoStore(database), recipes, people.cards, images, storage, xp, cache
            ),
            ingredients=ingredients,
            smart_nutrition=smart_nutrition,
            nutrition=RecipesNutrition(recipes, smart_nutrition, NutritionStore(database), cache),
            generation=Generation.of(
                database,
                openai,
                recipes,
                smart_nutrition,
                quotas,
                xp,
                seconds=bounds.seconds,
                menu_seconds=bounds.menu_seconds,
            ),
            tellers=GenerationResponder(hub, replies, ground.metrics),
            scans=Scans(ScanStore(database), Vision(openai), images, storage, quotas, xp, cache),
            boxes=MysteryBoxes(BoxStore(database), Gifts(membership.ledger), xp, secrets.randbelow),
            replies=replies,
        )

    def routes(self) -> list[Routes]:
        return [
            recipe_routes.routes(self.recipes),
            saving_routes.routes(self.saving),
            rating_routes.routes(self.ratings),
            photo_routes.routes(self.photos),
            ingredient_routes.routes(self.ingredients),
            nutrition_routes.routes(self.smart_nutrition, self.nutrition),
            generation_routes.routes(self.generation, self.tellers),
            scan_routes.routes(self.scans),
            box_routes.routes(self.boxes, self.replies),
        ]
