"""From what the model wrote to a row of `recipes`, the same for every endpoint.

Source: `spec/http-api-core.md` §9.1, "Do instead" on stored nutrition, difficulty and steps.
"""

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
    wire,
)
from cookcam.features.recipes.generation.models import STORED_LEVELS, Brief

GOOD_RATE = 50
"""Percent of the ingredients that have to be in the catalogue for its figures to be believed."""


def full_row(recipe: FullRecipe, brief: Brief) -> GeneratedContent:
    """C2 as 9.3 stores it."""
    known = ", ".join(brief.ingredients[:10])
    wished = [cuisine for cuisine in brief.cuisines if cuisine.upper() not in ("SURPRISE_ME", "")]
    return GeneratedContent(
        RecipeContent(
            title=recipe.title.strip(),
            description=f"{recipe.cuisine} dish made with {known}",
            cuisine=recipe.cuisine,
            prep_time=floor(0.3 * recipe.total_minutes),
            cook_time=ceil(0.7 * recipe.total_minutes),
            difficulty=STORED_LEVELS[recipe.difficulty],
            servings=recipe.servings,
            ingredients=wire(recipe.ingredients),
            instructions=[step.instruction for step in recipe.steps],
            tags=wished or [recipe.cuisine],
            nutrition=_estimate(recipe),
        ),
        {
            "chef_camillo_version": "1.0",
            "session_id": brief.session_id,
            "original_ingredients": brief.ingredients,
            "social_caption": recipe.caption,
            "finishing_tip": recipe.finishing_tip,
            "techniques": [step.technique for step in recipe.steps if step.technique],
            "pro_tips": [step.pro_tip for step in recipe.steps if step.pro_tip],
            "steps": [{"step": n, **wire(step)} for n, step in enumerate(recipe.steps, 1)],
        },
    )


def weighed_row(recipe: FullRecipe, brief: Brief, smart: SmartNutrition) -> GeneratedContent:
    """C2 as 9.7 stores it: with both nutritions, of one serving."""
    row = full_row(recipe, brief)
    estimate, weighed = _estimate(recipe), _rounded(smart.per_serving)
    believed = weighed if smart.match_rate >= GOOD_RATE else estimate
    both = {
        **believed,
        **{f"ai_{key}": value for key, value in estimate.items()},
        **{f"db_{key}": weighed[key] for key in ("calories", "protein", "carbs", "fat", "sodium")},
        "ingredient_match_rate": smart.match_rate,
        "unmatched_ingredients": list(smart.unmatched),
    }
    return GeneratedContent(
        evolve(row.content, nutrition=both),
        {**row.metadata, "nutrition_method": "smart_fuzzy_matching"},
    )


def menu_row(
    recipe: GeneratedRecipe, number: int, total: int, diet: list[str], analysis: IngredientAnalysis
) -> GeneratedContent:
    """C3 as 9.4 stores it; `number` from 1."""
    about, nutrition = recipe.metadata, recipe.nutrition
    tags = [*diet, about.cuisine, about.method, "AI Generated"]
    return GeneratedContent(
        RecipeContent(
            title=recipe.title.strip(),
            description=recipe.description,
            cuisine=about.cuisine,
            prep_time=about.prep_time,
            cook_time=about.cook_time,
            difficulty=about.difficulty,
            servings=about.servings,
            ingredients=wire(recipe.ingredients),
            instructions=[step.instruction for step in recipe.instructions],
            tags=list(dict.fromkeys(tag for tag in tags if tag)),
            nutrition={**wire(nutrition), "carbs": nutrition.carbohydrates},
        ),
        {
            "enhanced_generation_version": "2.0",
            "cooking_method": about.method,
            "ingredients_used": recipe.used,
            "ingredients_skipped": recipe.skipped,
            "skip_reason": recipe.skip_reason,
            "recipe_variation": number,
            "total_variations": total,
            "ingredient_analysis": wire(analysis),
            "steps": wire(recipe.instructions),
        },
    )


def detailed_row(recipe: DetailedRecipe, session_id: str, preview_id: str) -> GeneratedContent:
    """C5 as 9.6 stores it."""
    return GeneratedContent(
        RecipeContent(
            title=recipe.title.strip(),
            description=recipe.description,
            cuisine=recipe.cuisine,
            prep_time=recipe.prep_time,
            cook_time=recipe.cook_time,
            difficulty=recipe.difficulty,
            servings=recipe.servings,
            ingredients=wire(recipe.ingredients),
            instructions=[step.instruction for step in recipe.instructions],
            tags=recipe.diet,
            nutrition=None if recipe.nutrition is None else wire(recipe.nutrition),
        ),
        {
            **detailed_key(session_id, preview_id),
            "detailed_instructions_count": len(recipe.instructions),
            "tips_count": len(recipe.tips),
            "total_time": recipe.total_time,
            "tips": recipe.tips,
            "steps": wire(recipe.instructions),
        },
    )


def detailed_key(session_id: str, preview_id: str) -> dict[str, Any]:
    """The part of the metadata by which the recipe of a preview is found again."""
    return {"session_id": session_id, "preview_id": preview_id}


def detailed_of(row: Recipe) -> dict[str, Any]:
    """`DetailedRecipe` of §9.1, read back from its row: the first answer and every later one are
    the same."""
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
        # The author may have edited the recipe: what became a text is an object again.
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


def estimate_of(recipe: FullRecipe) -> Amounts:
    """The model's own figures, of one serving."""
    macros = recipe.macros
    return Amounts(recipe.calories, macros.protein_g, macros.carbs_g, macros.fat_g)


def _estimate(recipe: FullRecipe) -> dict[str, Any]:
    macros = recipe.macros
    return {
        "calories": recipe.calories,
        "protein": macros.protein_g,
        "carbs": macros.carbs_g,
        "fat": macros.fat_g,
    }


def _rounded(amounts: Amounts) -> dict[str, Any]:
    return {
        "calories": round(amounts.calories, 1),
        "protein": round(amounts.protein, 1),
        "carbs": round(amounts.carbs, 1),
        "fat": round(amounts.fat, 1),
        "fiber": round(amounts.fiber, 1),
        "sodium": round(amounts.sodium, 1),
    }
