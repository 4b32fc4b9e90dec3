"""Answers of the fake model: food that fits any schema."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cookcam.integrations.openai.json_schema import Shapes, schema_of
from cookcam.sandbox.openai import Fault
from cookcam.sandbox.openai.answers import answer_to, read_request, recipes
from cookcam.sandbox.openai.foods import FOODS, mentioned, named
from cookcam.sandbox.openai.wire import Question
from tests.integrations.openai_shapes import FullRecipe, Photograph, Suggestions
from tests.integrations.test_json_schema import Typed, shapes

LIST = ["chicken breast", "Broccoli", "carrots", "rice", "feta", "lemon"]


def question(schema: dict[str, Any], prompt: object, images: tuple[str, ...] = ()) -> Question:
    return Question(
        model="gpt-4o-mini",
        instructions="",
        prompt=prompt if isinstance(prompt, str) else f"Data: {json.dumps(prompt)} Go on.",
        images=images,
        name="fixture",
        schema=schema,
        stream=False,
        with_usage=False,
        max_tokens=None,
        body={},
    )


def answer(shape: type[Any], prompt: object, **more: Any) -> Any:
    return Shapes().read(shape, answer_to(question(schema_of(shape), prompt, **more)).content)


@settings(max_examples=60)
@given(shapes, st.lists(st.sampled_from(LIST), max_size=4), st.booleans())
def test_an_answer_fits_any_schema(typed: Typed, ingredients: list[str], empty: bool):
    schema = schema_of(typed[0])
    request = question(schema, {"ingredients": ingredients})
    content = answer_to(request, Fault("empty") if empty else None).content
    jsonschema.Draft202012Validator(schema).validate(json.loads(content))
    Shapes().read(typed[0], content)


def test_answers_are_deterministic():
    first = answer(Suggestions, {"ingredients": LIST})
    assert answer(Suggestions, {"ingredients": LIST}) == first
    assert answer(Suggestions, {"ingredients": LIST, "again": 1}) != first
    assert len({recipe.title for recipe in first.recipes}) == 3


def test_a_recipe_is_consistent():
    recipe = answer(
        FullRecipe, {"selectedTitle": "Ann's Supper", "ingredients": LIST, "servings": 4}
    )
    assert recipe.title == "Ann's Supper"
    assert recipe.servings == 4
    own = {line.item for line in recipe.ingredients if not line.from_pantry}
    assert own == set(LIST)
    macros = recipe.macros
    energy = 4 * macros.protein_g + 4 * macros.carbs_g + 9 * macros.fat_g
    assert recipe.calories == pytest.approx(energy, rel=0.15)
    steps = " ".join(step.instruction for step in recipe.steps)
    assert all(name in steps for name in own)
    assert "74 °C" in steps
    assert [step.order for step in recipe.steps] == list(range(1, len(recipe.steps) + 1))


@given(st.lists(st.sampled_from([food.name for food in FOODS]), max_size=8, unique=True), st.data())
def test_diets_and_dislikes_hold(names: list[str], data: st.DataObject):
    disliked = data.draw(st.lists(st.sampled_from(names), max_size=2)) if names else []
    wanted = read_request(
        json.dumps(
            {"ingredients": names, "dietaryTags": ["vegan"], "dislikedIngredients": disliked}
        )
    )
    for recipe in recipes(wanted, 1, 3):
        for line in recipe["ingredients"]:
            assert not named(line["name"]).contains & {"meat", "fish", "egg", "dairy", "honey"}
            assert line["name"] not in disliked


def test_preferences_are_read_from_nested_json():
    wanted = read_request(
        'Some words. <data>{"originalInput": {"detectedIngredients": ["leek", {"name": "cod"}],'
        ' "cuisinePreferences": ["SURPRISE_ME", "thai"], "timeAvailable": "quick"},'
        ' "excludeRecipes": ["Leek Soup"], "servingSize": "3 people"}</data>'
    )
    assert wanted.ingredients == ["leek", "cod"]
    assert wanted.cuisines == ["thai"]
    assert (wanted.minutes, wanted.servings) == (20, 3)
    assert wanted.excluded == ["leek soup"]
    (recipe,) = recipes(wanted, 5, 1)
    assert recipe["cuisine"] == "Thai"
    assert recipe["totaltime"] <= 20


def test_foods_are_found_by_name():
    assert mentioned("Two cherry tomatoes, potatoes and olive oil") == [
        "cherry tomato",
        "potato",
        "olive oil",
    ]
    assert named("Boneless chicken breasts").name == "chicken breast"
    assert named("asparagus").category == "vegetable"
    assert named("dragon scales").category == "other"
    assert len({food.name for food in FOODS}) == len(FOODS)


def test_foods_on_a_photograph_follow_from_its_bytes():
    schema = schema_of(Photograph)

    def content_for(image: str) -> str:
        return answer_to(question(schema, "What is this?", (image,))).content

    assert content_for("data:a") == content_for("data:a")
    assert len({content_for(f"data:{n}") for n in range(10)}) == 10
    detected = answer(Photograph, "What is this?", images=("data:a",)).ingredients
    assert 3 <= len(detected) <= 10
    assert all(named(item.name).category == item.category for item in detected)


def test_no_food_on_a_photograph():
    request = question(schema_of(Photograph), "What is this?", ("data:a",))
    assert json.loads(answer_to(request, Fault("empty")).content) == {"ingredients": []}
