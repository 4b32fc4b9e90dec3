"""The prompts. User input appears only in the data block, never in the instructions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cookcam.integrations.openai.prompts import DATA_RULE, data_block

STAPLES = ("salt", "black pepper", "olive oil", "water")
"""Assumed to be in every kitchen, for suggestions and their full recipes."""

PANTRY = (
    *STAPLES,
    "garlic",
    "onion",
    "butter",
    "flour",
    "sugar",
    "vinegar",
    "lemon juice",
    "soy sauce",
    "paprika",
    "cumin",
    "oregano",
    "thyme",
    "bay leaves",
    "vegetable oil",
    "white rice",
    "brown rice",
    "pasta",
    "bread",
    "eggs",
    "milk",
)
"""May be assumed for complete recipes: diverse recipes and variations."""

THEMES = (
    "healthier",
    "more indulgent",
    "under 30 minutes",
    "different cuisine",
    "meal-prep",
)
"""The themes of variations 1 to 5."""

_SAFETY = (
    "Keep every diet in the data without exception. Nothing that is disliked, avoided or an "
    "allergen there may appear in a dish, not as a garnish or an option either. Meat, fish and "
    "eggs are cooked through. Give metric measures with US ones beside them."
)

_CAMILLO = (
    "You are Chef Camillo, the house chef of CookCam: warm, brief and practical, you say 'we'. You "
    f"care about balanced food and about wasting nothing. {_SAFETY}"
)

_TEACHER = (
    "You are a chef who teaches people to cook at home. You explain so that a beginner succeeds. "
    f"{_SAFETY}"
)

_SUGGESTIONS = """\
Think of five dishes that keep every wish in the data, and answer with the three that need the \
fewest extra purchases and waste the least. The assumed staples are always there. A time or skill \
that is left open is yours to choose. Titles have no emoji."""

_FULL_RECIPE = """\
Write the full recipe for the selected title from the ingredients and wishes in the data. \
Ingredients that are assumed staples are marked as from the pantry. At most 8 steps; where a step \
teaches something, name the technique and add what a professional would. The caption is for \
friends online."""

_DIVERSE_RECIPES = """\
Write exactly three dishes that differ in method, texture and form. Each uses 60 to 80 percent of \
the ingredients in the data and forces none that do not fit: list those as skipped and say why. \
Each is true to one of the cuisines asked for. Every step says what to see, hear and feel, how \
long it takes at least and at most, what is dangerous, what to use if a tool is missing, what to \
do if it goes wrong, and why it is done. Use only the equipment and keep to the minutes, skill, \
servings, spice level and nutrition goals in the data. For meal prep, write amounts for all \
portions and say how to keep and reheat them. These staples may be used and are then marked as \
pantry: {pantry}."""

_PREVIEWS = """\
Offer three dishes of different styles for the meal in the data (a main dish if none is named), \
made from the ingredients there. Respect servings, cuisines, equipment, diet, skill, time and meal \
prep. Never offer a dish that the data lists as shown before or to be excluded, nor the same dish \
by another name."""

_DETAILED_RECIPE = """\
Turn the chosen preview in the data into a recipe to cook from. Keep its title, cuisine and \
character. Every ingredient has an exact measure for the servings asked for, and the steps repeat \
it. 6 to 12 steps, each with its time, heat, technique, a tip and what is dangerous. Say of each \
ingredient whether it was detected, is a pantry staple or has to be bought. Estimate the nutrition \
of one serving only if the amounts allow it."""

_VARIATION = """\
Rework the base recipe in the data along the theme there. Keep what makes the dish recognisable, \
change what the theme asks for, and give the result a title of its own. These staples may be used \
and are then marked as pantry: {pantry}."""


def _instructions(persona: str, task: str) -> str:
    return f"{persona}\n\n{task.format(pantry=', '.join(PANTRY))}\n\n{DATA_RULE}"


INSTRUCTIONS: Mapping[str, str] = {
    "recipe_suggestions": _instructions(_CAMILLO, _SUGGESTIONS),
    "full_recipe": _instructions(_CAMILLO, _FULL_RECIPE),
    "diverse_recipes": _instructions(_TEACHER, _DIVERSE_RECIPES),
    "recipe_previews": _instructions(_TEACHER, _PREVIEWS),
    "detailed_recipe": _instructions(_TEACHER, _DETAILED_RECIPE),
    "recipe_variation": _instructions(_TEACHER, _VARIATION),
}
"""The system message of each contract."""

_QUESTIONS: Mapping[str, str] = {
    "recipe_suggestions": "Which three dishes?",
    "full_recipe": "The full recipe, please.",
    "diverse_recipes": "Three complete recipes, please.",
    "recipe_previews": "What could be cooked?",
    "detailed_recipe": "The detailed recipe of the chosen preview, please.",
    "recipe_variation": "The variation, please.",
}


def user_prompt(contract: str, data: Mapping[str, Any]) -> str:
    """Build the user message: the question and the data block. Empty values are left out."""
    present = {key: value for key, value in data.items() if value not in (None, "", [], {})}
    return f"{_QUESTIONS[contract]}\n{data_block(present)}"
