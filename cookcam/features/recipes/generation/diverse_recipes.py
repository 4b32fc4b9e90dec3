"""Three complete recipes in one request."""

from __future__ import annotations

from attrs import frozen

from cookcam.database import Database
from cookcam.features.recipes.catalogue.service import Recipes
from cookcam.features.recipes.generation.checks import ContentCheck
from cookcam.features.recipes.generation.contracts import DIVERSE_RECIPES, as_json
from cookcam.features.recipes.generation.models import (
    Deadlines,
    DiverseRecipesInput,
    DiverseRecipesResult,
)
from cookcam.features.recipes.generation.recipe_model import ProgressListener, RecipeModel
from cookcam.features.recipes.generation.rows import diverse_recipe_row
from cookcam.features.recipes.generation.usage import GenerationUsage
from cookcam.identity import Identity


@frozen
class DiverseRecipesService:
    database: Database
    model: RecipeModel
    recipes: Recipes
    usage: GenerationUsage
    deadlines: Deadlines

    async def generate(
        self, caller: Identity, request: DiverseRecipesInput, progress: ProgressListener
    ) -> DiverseRecipesResult:
        """Generate three different recipes and store all of them or none.

        Raises LimitReached (403) and what the model's client and the database raise.
        """
        await self.usage.require_quota(caller)
        check = ContentCheck(request.disliked)
        generated = await self.model.generate(
            DIVERSE_RECIPES,
            request.data,
            progress,
            seconds=self.deadlines.model_seconds,
            check=check.check_diverse_recipes,
            check_item=check.check_recipe,
        )
        progress.stage("storing")
        total = len(generated.recipes)
        drafts = [
            diverse_recipe_row(recipe, number, total, request.diet, generated.analysis)
            for number, recipe in enumerate(generated.recipes, 1)
        ]
        analysis = as_json(generated.analysis)
        async with self.database.transaction_as(caller) as tx:
            await self.usage.consume(tx, caller)
            rows = await self.recipes.add_generated(tx, caller, drafts)
            await self.usage.xp.award(
                tx,
                caller.user_id,
                "diverse_recipes_generated",
                subject=str(rows[0].id),
                metadata={
                    "recipes_count": total,
                    "ingredients_count": len(request.ingredients),
                    "ingredient_analysis": analysis,
                },
            )
        stored = await self.recipes.list_json(caller, [row.id for row in rows])
        return DiverseRecipesResult(as_json(generated.recipes), analysis, stored)
