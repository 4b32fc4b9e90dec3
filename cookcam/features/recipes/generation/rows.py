"""Converts completions to rows of `recipes`, and a row back to a detailed recipe."""

from __future__ import annotations

from math import ceil, floor
from typing import Any

from attrs import evolve

from cookcam.features.food.nutrition.models import Amounts, SmartNutrition
from cookcam.features.recipes.catalogue.models import GeneratedContent, Recipe, RecipeContent
from cookcam.features.recipes.generation.contracts import (
    DetailedRecipe,
    FullRecipe,
    GeneratedRecipe,
    IngredientAnalysis,
    as_json,
)
from cookcam.features.recipes.generation.models import STORED_LEVELS, FullRecipeInput

MIN_MATCH_RATE = 50
"""Percent of the ingredients that must be in the catalogue for its figures to be used."""


def full_recipe_row(recipe: FullRecipe, source: FullRecipeInput) -> GeneratedContent:
    ingredients = ", ".join(source.ingredients[:10])
    cuisines = [
        cuisine for cuisine in source.cuisines if cuisine.upper() not in ("SURPRISE_ME", "")
    ]
    return GeneratedContent(
        RecipeContent(
            title=recipe.title.strip(),
            description=f"{recipe.cuisine} dish made with {ingredients}",
            cuisine=recipe.cuisine,
            prep_time=floor(0.3 * recipe.total_minutes),
            cook_time=ceil(0.7 * recipe.total_minutes),
            difficulty=STORED_LEVELS[recipe.difficulty],
            servings=recipe.servings,
            ingredients=as_json(recipe.ingredients),
            instructions=[step.instruction for step in recipe.steps],
            tags=cuisines or [recipe.cuisine],
            nutrition=_estimate(recipe),
        ),
        {
            "chef_camillo_version": "1.0",
            "session_id": source.session_id,
            "original_ingredients": source.ingredients,
            "social_caption": recipe.caption,
            "finishing_tip": recipe.finishing_tip,
            "techniques": [step.technique for step in recipe.steps if step.technique],
            "pro_tips": [step.pro_tip for step in recipe.steps if step.pro_tip],
            "steps": [{"step": n, **as_json(step)} for n, step in enumerate(recipe.steps, 1)],
        },
    )


def smart_nutrition_row(
    recipe: FullRecipe, source: FullRecipeInput, smart: SmartNutrition
) -> GeneratedContent:
    """A full recipe with the model's and the catalogue's nutrition for one serving."""
    row = full_recipe_row(recipe, source)
    estimate, calculated = _estimate(recipe), _rounded(smart.per_serving)
    best = calculated if smart.match_rate >= MIN_MATCH_RATE else estimate
    both = {
        **best,
        **{f"ai_{key}": value for key, value in estimate.items()},
        **{
            f"db_{key}": calculated[key]
            for key in ("calories", "protein", "carbs", "fat", "sodium")
        },
        "ingredient_match_rate": smart.match_rate,
        "unmatched_ingredients": list(smart.unmatched),
    }
    return GeneratedContent(
        evolve(row.content, nutrition=both),
        {**row.metadata, "nutrition_method": "smart_fuzzy_matching"},
    )


def diverse_recipe_row(
    recipe: GeneratedRecipe, number: int, total: int, diet: list[str], analysis: IngredientAnalysis
) -> GeneratedContent:
    """One of several complete recipes; `number` counts from 1."""
    facts, nutrition = recipe.metadata, recipe.nutrition
    tags = [*diet, facts.cuisine, facts.method, "AI Generated"]
    return GeneratedContent(
        RecipeContent(
            title=recipe.title.strip(),
            description=recipe.description,
            cuisine=facts.cuisine,
            prep_time=facts.prep_time,
            cook_time=facts.cook_time,
            difficulty=facts.difficulty,
            servings=facts.servings,
            ingredients=as_json(recipe.ingredients),
            instructions=[step.instruction for step in recipe.instructions],
            tags=list(dict.fromkeys(tag for tag in tags if tag)),
            nutrition={**as_json(nutrition), "carbs": nutrition.carbohydrates},
        ),
        {
            "enhanced_generation_version": "2.0",
            "cooking_method": facts.method,
            "ingredients_used": recipe.used,
            "ingredients_skipped": recipe.skipped,
            "skip_reason": recipe.skip_reason,
            "recipe_variation": number,
            "total_variations": total,
            "ingredient_analysis": as_json(analysis),
            "steps": as_json(recipe.instructions),
        },
    )


def detailed_recipe_row(
    recipe: DetailedRecipe, session_id: str, preview_id: str
) -> GeneratedContent:
    return GeneratedContent(
        RecipeContent(
            title=recipe.title.strip(),
            description=recipe.description,
            cuisine=recipe.cuisine,
            prep_time=recipe.prep_time,
            cook_time=recipe.cook_time,
            difficulty=recipe.difficulty,
            servings=recipe.servings,
            ingredients=as_json(recipe.ingredients),
            instructions=[step.instruction for step in recipe.instructions],
            tags=recipe.diet,
            nutrition=None if recipe.nutrition is None else as_json(recipe.nutrition),
        ),
        {
            **detailed_recipe_key(session_id, preview_id),
            "detailed_instructions_count": len(recipe.instructions),
            "tips_count": len(recipe.tips),
            "total_time": recipe.total_time,
            "tips": recipe.tips,
            "steps": as_json(recipe.instructions),
        },
    )


def detailed_recipe_key(session_id: str, preview_id: str) -> dict[str, Any]:
    """The metadata that identifies the recipe of a preview."""
    return {"session_id": session_id, "preview_id": preview_id}


def detailed_recipe_json(row: Recipe) -> dict[str, Any]:
    """The detailed recipe as JSON, always built from its row, so that repeats are identical."""
    metadata = row.ai_metadata or {}
    minutes = (row.prep_time or 0) + (row.cook_time or 0)
    recipe: dict[str, Any] = {
        "id": str(row.id),
        "title": row.title,
        "description": row.description or "",
        "prepTime": row.prep_time or 0,
        "cookTime": row.cook_time or 0,
        "totalTime": metadata.get("total_time", minutes),
        "difficulty": row.difficulty or "easy",
        "servings": row.servings or 1,
        "cuisineType": row.cuisine or "",
        "dietaryTags": row.tags,
        # An edit by the author may have replaced objects by plain texts.
        "ingredients": [
            item if isinstance(item, dict) else {"name": item} for item in row.ingredients
        ],
        "instructions": [
            step if isinstance(step, dict) else {"step": number, "instruction": step}
            for number, step in enumerate(row.steps, 1)
        ],
        "tips": metadata.get("tips", []),
    }
    if row.nutrition is not None:
        recipe["nutritionEstimate"] = {
            "calories": row.nutrition.get("calories", 0),
            **{key: f"{row.nutrition.get(key, 0):g}g" for key in ("protein", "carbs", "fat")},
        }
    return recipe


def model_estimate(recipe: FullRecipe) -> Amounts:
    """The model's own estimate for one serving."""
    macros = recipe.macros
    return Amounts(recipe.calories, macros.protein_g, macros.carbs_g, macros.fat_g)


def _estimate(recipe: FullRecipe) -> dict[str, Any]:
    estimate = model_estimate(recipe)
    return {key: getattr(estimate, key) for key in ("calories", "protein", "carbs", "fat")}


def _rounded(amounts: Amounts) -> dict[str, Any]:
    keys = ("calories", "protein", "carbs", "fat", "fiber", "sodium")
    return {key: round(getattr(amounts, key), 1) for key in keys}
