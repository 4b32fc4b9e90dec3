"""Checks of completions, and parsing of request bodies."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cookcam.errors import ValidationError
from cookcam.features.recipes.generation.checks import ContentCheck, KnownTitles
from cookcam.features.recipes.generation.contracts import (
    DETAILED_RECIPE,
    DIVERSE_RECIPES,
    FULL_RECIPE,
    PREVIEWS,
    SUGGESTIONS,
    VARIATION,
    Preview,
)
from cookcam.features.recipes.generation.models import Deadlines
from cookcam.features.recipes.generation.prompts import INSTRUCTIONS, user_prompt
from cookcam.features.recipes.generation.requests import (
    DetailedRecipeRequest,
    FullRecipeRequest,
    GeneratedRecipesRequest,
    RecipePreviewsRequest,
    RecipeVariationsRequest,
    SuggestionsRequest,
)
from cookcam.integrations.openai.json_schema import schema_of
from cookcam.integrations.openai.prompts import DATA_RULE


@pytest.mark.parametrize(
    ("disliked", "text", "matches"),
    [
        ("egg", "2 eggs", True),
        ("eggs", "one egg", True),
        ("Egg", "EGG wash", True),
        ("egg", "eggplant", False),
        ("tomatoes", "cherry tomato", True),
        ("berries", "a berry", True),
        ("berry", "mixed berries", True),
        ("cheese", "cheeses", True),
        ("peanut", "peanut butter", True),
        ("peanuts", "peanut-free sauce", False),
        ("nuts", "nut free", False),
        ("nut", "nutmeg", False),
        ("soy sauce", "soy  Sauce", True),
        ("a.b", "axb", False),
        ("", "anything", False),
        ("s", "", False),
        ("es", "anything", False),
    ],
)
def test_a_disliked_food_matches_whole_words_only(disliked: str, text: str, matches: bool):
    check = ContentCheck((disliked,))
    if matches:
        with pytest.raises(ValueError, match="disliked"):
            check.reject_disliked([text])
    else:
        check.reject_disliked([text])


@given(st.lists(st.text(max_size=30), max_size=5))
def test_every_food_name_matches_itself(foods: list[str]):
    """Special characters of a name are not read as a pattern."""
    check = ContentCheck(tuple(foods))
    check.reject_disliked([""])
    for food in foods:
        if food.strip():
            with pytest.raises(ValueError, match="disliked"):
                check.reject_disliked([food])


def preview(title: str, **changes: Any) -> Preview:
    fields: dict[str, Any] = {
        "title": title,
        "description": "",
        "minutes": 20,
        "difficulty": "easy",
        "cuisine": "Thai",
        "ingredients": ["rice"],
        "appeal": ["fast", "good"],
    }
    return Preview(**{**fields, **changes})


def test_titles_are_compared_without_case_and_punctuation():
    known = KnownTitles.of(["Tomato & Rice Bowl!"])
    assert known.new_previews([preview("tomato rice  bowl"), preview("Rice Bowl")]) == [
        (1, preview("Rice Bowl"))
    ]


def test_titles_that_cannot_be_stored_are_rejected():
    for title in ("", "  ", "x" * 201):
        with pytest.raises(ValueError, match="title"):
            ContentCheck().check_preview(preview(title))
    with pytest.raises(ValueError, match="disliked"):
        ContentCheck(("rice",)).check_preview(preview("Bowl"))


def test_every_contract_has_a_schema_and_instructions():
    for contract in (
        SUGGESTIONS,
        FULL_RECIPE,
        DIVERSE_RECIPES,
        PREVIEWS,
        DETAILED_RECIPE,
        VARIATION,
    ):
        assert schema_of(contract.shape)["additionalProperties"] is False
        assert DATA_RULE in INSTRUCTIONS[contract.name]
        assert "{" not in INSTRUCTIONS[contract.name]


@given(st.text(max_size=200), st.lists(st.text(max_size=40), max_size=4))
def test_user_input_cannot_close_the_data_block(title: str, foods: list[str]):
    message = user_prompt("full_recipe", {"selectedTitle": title, "detectedIngredients": foods})
    assert message.count("<data>") == message.count("</data>") == 1
    assert message.endswith("\n</data>")


def test_the_model_has_less_time_than_the_request():
    assert Deadlines(50).model_seconds < 50


Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=150),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        *("servingSize", "cuisinePreferences", "dietaryTags", "selectedAppliances"),
        *("timeAvailable", "skillLevel", "mealPrepEnabled", "mealPrepPortions", "mealType"),
        *(
            "excludeRecipes",
            "dislikedIngredients",
            "availableTime",
            "id",
            "title",
            "detectedIngredients",
        ),
    ]
)


@given(value=Json, fields=st.dictionaries(KEYS, Json, max_size=5))
def test_every_body_is_accepted_or_rejected_with_a_validation_error(value: Any, fields: Any):
    for read in (
        lambda: SuggestionsRequest(value, value, value, value, value).preferences(),
        lambda: FullRecipeRequest(value, value, fields).source(),
        lambda: FullRecipeRequest(value).title(),
        lambda: GeneratedRecipesRequest(
            ["rice"], preferences=fields, nutrition_goals=fields
        ).recipes_input(),
        lambda: GeneratedRecipesRequest(
            ["rice"], None, None, value, value, value, value, value
        ).recipes_input(),
        lambda: RecipePreviewsRequest(value, fields, value).preferences(),
        lambda: RecipePreviewsRequest(value, fields, value).session(),
        lambda: DetailedRecipeRequest(fields, value).selected(),
        lambda: RecipeVariationsRequest(value).number(),
    ):
        with suppress(ValidationError):
            read()
