"""The SQL of saved nutrition.

Everyone who can read a recipe can read its row. The server writes it after the service has checked
that the recipe is the writer's.
"""

from __future__ import annotations

from typing import LiteralString

from attrs import frozen

from cookcam.database import Database
from cookcam.features.food.nutrition.models import RecipeNutrition, RecipeNutritionRow

COLUMNS: LiteralString = """
  recipe_id, servings, total_calories, total_protein_g, total_carbs_g, total_fat_g, total_fiber_g,
  total_sodium_mg, calories_per_serving, protein_g_per_serving, carbs_g_per_serving,
  fat_g_per_serving, fiber_g_per_serving, sodium_mg_per_serving, calculated_at"""

SAVE = f"""
insert into public.recipe_nutrition ({COLUMNS})
values (
  %(recipe_id)s, %(servings)s, %(total_calories)s, %(total_protein_g)s, %(total_carbs_g)s,
  %(total_fat_g)s, %(total_fiber_g)s, %(total_sodium_mg)s, %(calories_per_serving)s,
  %(protein_g_per_serving)s, %(carbs_g_per_serving)s, %(fat_g_per_serving)s,
  %(fiber_g_per_serving)s, %(sodium_mg_per_serving)s, now()
)
on conflict (recipe_id) do update set
  servings = excluded.servings,
  total_calories = excluded.total_calories,
  total_protein_g = excluded.total_protein_g,
  total_carbs_g = excluded.total_carbs_g,
  total_fat_g = excluded.total_fat_g,
  total_fiber_g = excluded.total_fiber_g,
  total_sodium_mg = excluded.total_sodium_mg,
  calories_per_serving = excluded.calories_per_serving,
  protein_g_per_serving = excluded.protein_g_per_serving,
  carbs_g_per_serving = excluded.carbs_g_per_serving,
  fat_g_per_serving = excluded.fat_g_per_serving,
  fiber_g_per_serving = excluded.fiber_g_per_serving,
  sodium_mg_per_serving = excluded.sodium_mg_per_serving,
  calculated_at = excluded.calculated_at
returning {COLUMNS}"""  # noqa: S608 - constants


@frozen
class NutritionStore:
    database: Database

    async def save(self, nutrition: RecipeNutrition) -> RecipeNutritionRow:
        """Insert or update a row. Raises ForeignKeyError when the recipe has been deleted."""
        total, serving = nutrition.total, nutrition.per_serving
        async with self.database.transaction() as tx:
            return await tx.fetch_one(
                RecipeNutritionRow,
                SAVE,
                recipe_id=nutrition.recipe_id,
                servings=nutrition.servings,
                total_calories=total.calories,
                total_protein_g=total.protein,
                total_carbs_g=total.carbs,
                total_fat_g=total.fat,
                total_fiber_g=total.fiber,
                total_sodium_mg=total.sodium,
                calories_per_serving=serving.calories,
                protein_g_per_serving=serving.protein,
                carbs_g_per_serving=serving.carbs,
                fat_g_per_serving=serving.fat,
                fiber_g_per_serving=serving.fiber,
                sodium_mg_per_serving=serving.sodium,
            )
