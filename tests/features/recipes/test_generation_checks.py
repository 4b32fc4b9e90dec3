"""What is not accepted of the model, and what is made of wishes."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cookcam.errors import ValidationError
from cookcam.features.recipes.generation.checks import Shown, Taboo
from cookcam.features.recipes.generation.contracts import C1, C2, C3, C4, C5, C6, Preview
from cookcam.features.recipes.generation.models import Deadlines
from cookcam.features.recipes.generation.prompts import INSTRUCTIONS, prompt
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
    ("disliked", "text", "found"),
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
def test_a_disliked_food_is_found_as_a_word(disliked: str, text: str, found: bool):
    taboo = Taboo((disliked,))
    if found:
        with pytest.raises(ValueError, match="disliked"):
            taboo.forbid([text])
    else:
        taboo.forbid([text])


@given(st.lists(st.text(max_size=30), max_size=5))
def test_every_word_finds_itself(words: list[str]):
    """Whatever a word is made of, the search for it is a search."""
    taboo = Taboo(tuple(words))
    taboo.forbid([""])
    for word in words:
        if word.strip():
            with pytest.raises(ValueError, match="disliked"):
                taboo.forbid([word])


def preview(title: str, **changes: Any) -> Preview:
    known: dict[str, Any] = {
        "title": title,
        "description": "",
        "minutes": 20,
        "difficulty": "easy",
        "cuisine": "Thai",
        "ingredients": ["rice"],
        "appeal": ["fast", "good"],
    }
    return Preview(**{**known, **changes})


def test_a_title_is_known_by_its_words():
    seen = Shown.of(["Tomato & Rice Bowl!"])
    assert seen.fresh([preview("tomato rice  bowl"), preview("Rice Bowl")]) == [
        (1, preview("Rice Bowl"))
    ]


def test_titles_that_cannot_be_stored_are_refused():
    for title in ("", "  ", "x" * 201):
        with pytest.raises(ValueError, match="title"):
            Taboo().check_preview(preview(title))
    with pytest.raises(ValueError, match="disliked"):
        Taboo(("rice",)).check_preview(preview("Bowl"))


def test_every_contract_has_a_schema_and_its_instructions():
    for contract in (C1, C2, C3, C4, C5, C6):
        assert schema_of(contract.shape)["additionalProperties"] is False
        assert DATA_RULE in INSTRUCTIONS[contract.name]
        assert "{" not in INSTRUCTIONS[contract.name]


@given(st.text(max_size=200), st.lists(st.text(max_size=40), max_size=4))
def test_what_people_write_cannot_leave_the_data(title: str, foods: list[str]):
    made = prompt("full_recipe", {"selectedTitle": title, "detectedIngredients": foods})
    assert made.count("<data>") == made.count("</data>") == 1
    assert made.endswith("\n</data>")


def test_the_model_has_less_time_than_the_request():
    assert Deadlines(50).model < 50


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


@given(value=Json, wishes=st.dictionaries(KEYS, Json, max_size=5))
def test_whatever_is_sent_is_understood_or_refused(value: Any, wishes: Any):
    for read in (
        lambda: SuggestionsRequest(value, value, value, value, value).ideas(),
        lambda: FullRecipeRequest(value, value, wishes).brief(),
        lambda: FullRecipeRequest(value).title(),
        lambda: GeneratedRecipesRequest(
            ["rice"], preferences=wishes, nutrition_goals=wishes
        ).wishes(),
        lambda: GeneratedRecipesRequest(
            ["rice"], None, None, value, value, value, value, value
        ).wishes(),
        lambda: RecipePreviewsRequest(value, wishes, value).preferences(),
        lambda: RecipePreviewsRequest(value, wishes, value).session(),
        lambda: DetailedRecipeRequest(wishes, value).chosen(),
        lambda: RecipeVariationsRequest(value).wanted(),
    ):
        with suppress(ValidationError):
            read()
