"""Schemas of shapes and the values they describe; jsonschema is the judge."""

from __future__ import annotations

import json
from typing import Any, Literal

import jsonschema
import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from cookcam.integrations.openai.json_schema import (
    JsonSchema,
    Shapes,
    described,
    list_field,
    schema_of,
)
from tests.integrations.openai_shapes import FullRecipe, Photograph, Suggestions

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
counts = st.integers(-(2**53), 2**53)
numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
PLAIN = [(str, texts), (int, counts), (float, numbers), (bool, st.booleans())]
CHOICES = (Literal["easy", "hard"], st.sampled_from(["easy", "hard"]))

Typed = tuple[Any, st.SearchStrategy[Any]]


def lists_of(inner: Typed) -> Typed:
    kind, values = inner
    return list[kind], st.lists(values, max_size=3)


def tuples_of(inner: Typed) -> Typed:
    kind, values = inner
    return tuple[kind, ...], st.lists(values, max_size=3).map(tuple)


def optional(inner: Typed) -> Typed:
    kind, values = inner
    return kind | None, st.none() | values


def shape_of(fields: list[Typed]) -> Typed:
    """A class with these fields, every second one under another key."""
    names = [f"field_{n}" for n in range(len(fields))]
    body: dict[str, Any] = {
        name: described(f"number {n}", name=f"key{n}" if n % 2 else None)
        for n, name in enumerate(names)
    }
    body["__annotations__"] = dict(zip(names, (kind for kind, _ in fields), strict=True))
    made = frozen(type("Drawn", (), body))
    return made, st.builds(made, *(values for _, values in fields))


kinds: st.SearchStrategy[Typed] = st.recursive(
    st.sampled_from([*PLAIN, CHOICES]),
    lambda inner: (
        inner.map(lists_of)
        | inner.map(tuples_of)
        | inner.filter(lambda typed: type(None) not in getattr(typed[0], "__args__", ())).map(
            optional
        )
        | st.lists(inner, min_size=1, max_size=4).map(shape_of)
    ),
    max_leaves=8,
)
shapes = st.lists(kinds, min_size=1, max_size=4).map(shape_of)


@given(st.data(), shapes)
def test_values_match_their_schema_and_round_trip(data: st.DataObject, typed: Typed):
    shape, values = typed
    value = data.draw(values)
    known = Shapes()
    wire = json.loads(json.dumps(known.write(value)))
    jsonschema.Draft202012Validator(known.schema(shape)).validate(wire)
    assert known.structure(shape, wire) == value
    assert known.read(shape, json.dumps(wire)) == value


def objects_in(schema: JsonSchema) -> list[JsonSchema]:
    found = [schema] if schema.get("type") == "object" else []
    inside = [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]
    inside += [schema["items"]] if "items" in schema else []
    return found + [inner for part in inside for inner in objects_in(part)]


@given(shapes)
def test_objects_are_closed_and_require_every_key(typed: Typed):
    for found in objects_in(schema_of(typed[0])):
        assert found["additionalProperties"] is False
        assert found["required"] == list(found["properties"])


def a_recipe() -> dict[str, Any]:
    return {
        "title": "Soup",
        "cuisine": "French",
        "servings": 2,
        "totalTimeMinutes": 20,
        "difficulty": "Beginner",
        "caloriesPerServing": 210.5,
        "macros": {"protein_g": 1, "carbs_g": 2.5, "fat_g": 0},
        "ingredients": [{"item": "leek", "quantity": "2", "fromPantry": False}],
        "steps": [{"order": 1, "instruction": "Cook.", "technique": None, "proTip": "Salt"}],
        "finishingTip": None,
        "socialCaption": "Soup!",
    }


SPOILED = [
    lambda recipe: recipe.pop("title"),
    lambda recipe: recipe.update(title=None),
    lambda recipe: recipe.update(title=5),
    lambda recipe: recipe.update(extra=1),
    lambda recipe: recipe.update(servings="2"),
    lambda recipe: recipe.update(servings=True),
    lambda recipe: recipe.update(servings=2.5),
    lambda recipe: recipe.update(servings=0),
    lambda recipe: recipe.update(caloriesPerServing="210"),
    lambda recipe: recipe.update(macros=[]),
    lambda recipe: recipe["macros"].update(fat_g=-1),
    lambda recipe: recipe.update(ingredients=[]),
    lambda recipe: recipe.update(ingredients={}),
    lambda recipe: recipe.update(ingredients="leek"),
    lambda recipe: recipe["ingredients"][0].update(fromPantry=0),
    lambda recipe: recipe["steps"][0].pop("technique"),
    lambda recipe: recipe["steps"][0].update(technique=1),
    lambda recipe: recipe.update(steps=recipe["steps"] * 9),
]


@pytest.mark.parametrize("spoil", SPOILED)
def test_values_outside_the_schema_are_rejected(spoil: Any):
    known, recipe = Shapes(), a_recipe()
    judge = jsonschema.Draft202012Validator(known.schema(FullRecipe))
    judge.validate(recipe)
    assert known.write(known.structure(FullRecipe, recipe)) == recipe
    spoil(recipe)
    assert not judge.is_valid(recipe)
    with pytest.raises(ValueError, match="not a FullRecipe"):
        known.structure(FullRecipe, recipe)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"a"', '{"recipes": NaN}', "{}"])
def test_malformed_texts_are_rejected(text: str):
    with pytest.raises(ValueError, match="not"):
        Shapes().read(Suggestions, text)


def test_half_a_surrogate_pair_of_the_model_is_read_as_the_replacement_character():
    text = json.dumps(a_recipe() | {"title": "Pizza \ud83c"})
    assert Shapes().read(FullRecipe, text).title == "Pizza \N{REPLACEMENT CHARACTER}"


def test_text_with_nul_is_rejected():
    recipe = a_recipe() | {"title": "So\x00up"}
    with pytest.raises(ValueError, match="not a FullRecipe"):
        Shapes().structure(FullRecipe, recipe)


def test_schema_contains_descriptions_and_limits():
    recipes = schema_of(Suggestions)["properties"]["recipes"]
    assert (recipes["minItems"], recipes["maxItems"]) == (3, 3)
    assert recipes["description"] == "three ideas"
    minutes = recipes["items"]["properties"]["totalTimeMinutes"]
    assert minutes == {"type": "integer", "minimum": 1, "maximum": 600, "description": "in all"}
    category = schema_of(Photograph)["properties"]["ingredients"]["items"]["properties"]["category"]
    assert category["enum"][0] == "vegetable"
    tip = schema_of(FullRecipe)["properties"]["finishingTip"]
    assert tip == {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "last words"}


@frozen
class Endless:
    again: Endless | None = described("itself")


@frozen
class Loose:
    anything: dict[str, str] = described("no schema for it")


@pytest.mark.parametrize("shape", [Endless, Loose, str])
def test_unsupported_types_are_rejected(shape: type[Any]):
    with pytest.raises(TypeError):
        schema_of(shape)


def test_lists_are_found_by_their_key():
    assert list_field(FullRecipe, "steps").__name__ == "Step"
    with pytest.raises(TypeError):
        list_field(FullRecipe, "title")
