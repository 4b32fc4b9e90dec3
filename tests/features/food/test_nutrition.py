"""Nutrition over HTTP, and the pure modules below it."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cookcam.features.food.ingredients.models import Candidate
from cookcam.features.food.nutrition.calculation import grams_of, plain_grams
from cookcam.features.food.nutrition.matching import best_match, normal_name, score
from cookcam.features.food.nutrition.models import Item
from cookcam.features.food.nutrition.quantities import Quantity, parse_quantity, parse_with_rest
from cookcam.features.food.nutrition.service import MAX_ITEMS, items_of
from cookcam.features.food.nutrition.units import UNITS
from cookcam.sandbox.openai.foods import FOODS, STAPLES, staple
from cookcam.sandbox.seed import seed
from tests.support.food import FoodApp, open_food_app
from tests.support.postgres import as_owner

SMART = "/recipes/calculate-smart-nutrition"


@pytest.fixture
async def food_app(fresh_database_url: str) -> AsyncIterator[FoodApp]:
    async with open_food_app(fresh_database_url) as opened:
        yield opened


@pytest.fixture
async def stocked(food_app: FoodApp) -> FoodApp:
    for name, *macros in (
        ("Butter, salted", 717, 0.9, 0.1, 81, 643),
        ("Butterbur, canned", 3, 0.1, 0.4, 0.1, 4),
        ("Egg, whole, raw, fresh", 143, 12.6, 0.7, 9.5, 142),
        ("Eggplant, raw", 25, 1, 5.9, 0.2, 2),
        ("Flour, wheat, all-purpose", 364, 10.3, 76.3, 1, 2),
        ("Garlic, raw", 149, 6.4, 33.1, 0.5, 17),
        ("Oil, olive, salad or cooking", 884, 0, 0, 100, 2),
        ("Fish oil, sardine", 902, 0, 0, 100, 0),
        ("Salt, table", 0, 0, 0, 0, 38758),
        ("Tomatoes, red, ripe, raw", 18, 0.9, 3.9, 0.2, 5),
        ("Water, tap, drinking", 0, 0, 0, 0, 4),
    ):
        await food_app.add(name, *macros)
    await food_app.add("Tomato", 99, None, 1, 1, 1)  # not all amounts are known
    return food_app


async def calculate(food_app: FoodApp, *items: tuple[str, str], **body: Any) -> dict[str, Any]:
    listed = [{"item": name, "quantity": quantity} for name, quantity in items]
    response = await food_app.guest.post(SMART, {"ingredients": listed, **body})
    assert response.status_code == 200, response.text
    return response.json()["data"]


class TestSmart:
    async def test_list_is_matched_and_summed(self, stocked: FoodApp):
        data = await calculate(
            stocked,
            ("extra virgin olive oil", "2 tablespoons"),
            ("salt", "1/2 tsp"),
            ("large eggs, beaten", "2 large"),
            ("ripe tomatoes", "500 g"),
            ("garlic cloves", "3"),
            ("unobtainium", "1 kg"),
            ("pepper", "to taste"),
            servings=2,
        )
        nutrition, quality = data["nutrition"], data["quality"]
        parts = {part["inputName"]: part for part in nutrition["ingredientBreakdown"]}
        assert parts["extra virgin olive oil"]["gramsUsed"] == pytest.approx(27.6)
        assert parts["extra virgin olive oil"]["matchedName"] == "Oil, olive, salad or cooking"
        assert parts["salt"]["matchedName"] == "Salt, table"
        assert parts["salt"]["gramsUsed"] == 2.08  # 2.5 ml at 200 g a cup
        assert parts["large eggs, beaten"]["matchedName"] == "Egg, whole, raw, fresh"
        assert parts["large eggs, beaten"]["gramsUsed"] == 125
        assert parts["ripe tomatoes"]["matchedName"] == "Tomatoes, red, ripe, raw"
        assert parts["garlic cloves"]["gramsUsed"] == 15
        assert nutrition["unmatchedIngredients"] == ["unobtainium", "pepper"]
        assert set(nutrition["totalNutrition"]) == {
            "calories", "carbs_g", "protein_g", "fat_g", "sodium_mg",
        }  # fmt: skip
        total, serving = nutrition["totalNutrition"], nutrition["perServing"]
        assert serving["calories"] == pytest.approx(total["calories"] / 2, abs=0.06)
        assert quality == {
            "totalIngredients": 7,
            "matchedIngredients": 5,
            "matchRate": 71,
            "averageConfidence": quality["averageConfidence"],
        }
        assert 60 <= quality["averageConfidence"] <= 100

    async def test_breakdown_has_two_decimals(self, stocked: FoodApp):
        data = await calculate(stocked, ("olive oil", "16 tbsp"), ("butter", "1/3 lb"))
        parts = data["nutrition"]["ingredientBreakdown"]
        assert [part["gramsUsed"] for part in parts] == [220.8, 151.2]

    async def test_misspelling_matches_and_the_match_is_cached(self, stocked: FoodApp):
        data = await calculate(stocked, ("buter", "100 g"), ("eggs", "1"))
        matched = [part["matchedName"] for part in data["nutrition"]["ingredientBreakdown"]]
        assert matched == ["Butter, salted", "Egg, whole, raw, fresh"]
        async with stocked.database.transaction() as tx:
            await tx.execute("delete from public.ingredients where name like 'Egg,%%'")
        again = await calculate(stocked, ("eggs", "1"))
        assert len(again["nutrition"]["ingredientBreakdown"]) == 1  # for a day

    async def test_all_names_are_looked_up_in_one_read(
        self, stocked: FoodApp, monkeypatch: pytest.MonkeyPatch
    ):
        calls: list[int] = []
        requested = type(stocked.ingredients.store).candidates

        async def counted(self: Any, phrases: Any) -> Any:
            calls.append(len(phrases))
            return await requested(self, phrases)

        monkeypatch.setattr(type(stocked.ingredients.store), "candidates", counted)
        await stocked.smart.calculate([Item(f"food {n}", "1 g") for n in range(100)], 4)
        assert len(calls) == 1

    async def test_invalid_input_is_rejected(self, food_app: FoodApp):
        item = {"item": "egg", "quantity": "1"}
        for body in ({}, {"ingredients": []}, {"ingredients": "egg"}, {"ingredients": None}):
            response = await food_app.guest.post(SMART, body)
            assert response.status_code == 400
            assert response.json()["error"] == "Ingredients array is required"
            assert response.json()["success"] is False
        many = await food_app.guest.post(SMART, {"ingredients": [item] * 101})
        assert many.json()["error"] == "Too many ingredients (max 100)"
        for body in (
            {"ingredients": [item], "servings": 0},
            {"ingredients": [item], "servings": 101},
            {"ingredients": [item], "servings": "2"},
            {"ingredients": ["egg"]},
            {"ingredients": [{"item": "", "quantity": "1"}]},
            {"ingredients": [{"item": "egg", "quantity": []}]},
            {"ingredients": [{"item": "x" * 201, "quantity": "1"}]},
        ):
            response = await food_app.guest.post(SMART, body)
            assert (response.status_code, response.json()["code"]) == (400, "VALIDATION_ERROR"), (
                body
            )

    async def test_failure_has_the_error_text_of_the_route(self, food_app: FoodApp):
        object.__setattr__(food_app.smart, "ingredients", None)
        response = await food_app.guest.post(
            SMART, {"ingredients": [{"item": "egg", "quantity": "1"}]}
        )
        assert response.status_code == 500
        assert response.json()["error"] == "Failed to calculate smart nutrition"


class TestRecipes:
    async def test_linked_ingredients_are_summed(self, stocked: FoodApp):
        ann = await stocked.person()
        recipe = (await ann.post("/recipes", {"title": "Shortbread", "is_published": True})).json()
        async with stocked.database.transaction() as tx:
            for name, quantity, unit in (("Butter%", 200, "g"), ("Flour%", 2, None)):
                await tx.execute(
                    "insert into public.recipe_ingredients"
                    " (recipe_id, ingredient_id, quantity, unit) select %(recipe)s::uuid, min(id),"
                    " %(quantity)s, %(unit)s from public.ingredients where name like %(name)s",
                    recipe=recipe["id"], quantity=quantity, unit=unit, name=name.replace("%", ",%"),
                )  # fmt: skip
        response = await stocked.guest.get(f"/recipes/{recipe['id']}/nutrition?servings=4")
        assert response.status_code == 200, response.text
        body = response.json()
        data = body["data"]
        assert (data["recipe_id"], data["recipe_name"]) == (recipe["id"], "Shortbread")
        assert data["servings"] == 4
        totals = data["nutrition"]["totals"]
        assert totals["calories"] == 2 * 717 + 2 * 364  # an unknown unit is 100 g
        assert totals["sodium_mg"] == 2 * 643 + 2 * 2
        assert data["per_serving"]["calories"] == pytest.approx(totals["calories"] / 4, abs=0.05)
        assert [part["grams"] for part in data["nutrition"]["breakdown"]] == [200, 200]
        for flat in ("calories", "protein", "carbs", "fat", "fiber", "sodium"):
            assert body[flat] == data[flat] >= 0
        saved = await ann.post(f"/recipes/{recipe['id']}/save-nutrition", {"servings": 4})
        assert saved.status_code == 200, saved.text
        row = saved.json()["data"]
        assert row["recipe_id"] == recipe["id"]
        assert row["total_calories"] == pytest.approx(2162)
        assert row["calories_per_serving"] == pytest.approx(540.5)
        again = await ann.post(f"/recipes/{recipe['id']}/save-nutrition")
        assert again.json()["data"]["servings"] == 1

    async def test_written_ingredients_are_looked_up(self, stocked: FoodApp):
        ann = await stocked.person()
        recipe = await ann.post(
            "/recipes",
            {
                "title": "Cake",
                "is_published": True,
                "ingredients": [
                    {"name": "butter", "amount": "1/2", "unit": "lb"},
                    {"item": "flour", "quantity": "2 cups", "fromPantry": True},
                    "3 eggs",
                    "love",
                ],
            },
        )
        response = await stocked.guest.get(f"/recipes/{recipe.json()['id']}/nutrition")
        breakdown = response.json()["data"]["nutrition"]["breakdown"]
        assert [part["name"] for part in breakdown] == ["butter", "flour", "eggs"]
        assert [round(part["grams"]) for part in breakdown] == [227, 400, 150]

    async def test_stored_nutrition_is_used_when_nothing_matches(self, food_app: FoodApp):
        ann = await food_app.person()
        recipe = await ann.post(
            "/recipes",
            {"title": "Mystery", "servings": 2, "nutrition": {"calories": 300, "carbs": 20.5}},
        )
        path = f"/recipes/{recipe.json()['id']}/nutrition?servings=2"
        data = (await ann.get(path)).json()["data"]
        assert data["nutrition"]["totals"]["calories"] == 600
        assert data["per_serving"]["carbs_g"] == 20.5
        assert (await food_app.guest.get(path)).status_code == 404  # a draft

    async def test_empty_recipe_has_no_nutrition(self, food_app: FoodApp):
        ann = await food_app.person()
        recipe = (await ann.post("/recipes", {"title": "Air"})).json()
        data = (await ann.get(f"/recipes/{recipe['id']}/nutrition")).json()["data"]
        assert data["nutrition"] == {
            "totals": dict.fromkeys(
                ("calories", "protein_g", "carbs_g", "fat_g", "fiber_g", "sodium_mg"), 0
            ),
            "breakdown": [],
        }

    async def test_permissions_and_invalid_input(self, food_app: FoodApp):
        ann, bob = await food_app.person("Ann"), await food_app.person("Bob")
        recipe = (await ann.post("/recipes", {"title": "Toast", "is_published": True})).json()["id"]
        for path in (str(uuid4()), "abc"):
            response = await food_app.guest.get(f"/recipes/{path}/nutrition")
            assert (response.status_code, response.json()["error"]) == (404, "Recipe not found")
            response = await ann.post(f"/recipes/{path}/save-nutrition")
            assert (response.status_code, response.json()["error"]) == (404, "Recipe not found")
        foreign = await bob.post(f"/recipes/{recipe}/save-nutrition")
        assert (foreign.status_code, foreign.json()["error"]) == (404, "Recipe not found")
        assert (await food_app.guest.post(f"/recipes/{recipe}/save-nutrition")).status_code == 401
        for servings in ("0", "101", "abc", "1.5"):
            response = await ann.get(f"/recipes/{recipe}/nutrition?servings={servings}")
            assert response.status_code == 400, servings
        for servings in (0, 101, "2"):
            response = await ann.post(f"/recipes/{recipe}/save-nutrition", {"servings": servings})
            assert response.status_code == 400


@pytest.mark.parametrize(
    ("text", "unit", "amount", "name"),
    [
        ("1 1/2 cups", "", 1.5, "cup"),
        ("½ tsp", "", 0.5, "tsp"),
        ("1½", "tbsp", 1.5, "tbsp"),
        ("1\u20442 cup", "", 0.5, "cup"),
        ("2-3 cloves", "", 2.5, "clove"),
        ("2 to 3 tbsp", "", 2.5, "tbsp"),
        ("1 (14 oz) can", "", 14, "oz"),
        ("2 (14 oz) cans", "", 28, "oz"),
        ("2 cans (400 g each)", "", 800, "g"),
        ("2 x 400 g tins", "", 800, "g"),
        ("1 cup (240 g)", "", 240, "g"),
        ("8 oz / 225 g", "", 225, "g"),
        ("500 ml", "", 500, "ml"),
        ("1 lb", "", 1, "lb"),
        ("2 tablespoons", "", 2, "tbsp"),
        ("1 whole", "", 1, "piece"),
        ("3 Large", "", 3, "large"),
        ("a pinch", "", 1, "pinch"),
        ("2 T", "", 2, "tbsp"),
        ("2 t", "", 2, "tsp"),
        ("4 fl. oz", "", 4, "fl oz"),
        ("1,5 kg", "", 1.5, "kg"),
        ("250g", "", 250, "g"),
        ("2", "", 2, "piece"),
        ("2 g", "cups", 2, "cup"),
        ("1/0 cup", "", 0, "cup"),
        ("9" * 400 + " g", "", 1_000_000, "g"),
    ],
)
def test_quantities_as_people_write_them(text: str, unit: str, amount: float, name: str):
    quantity = parse_quantity(text, unit)
    assert quantity is not None
    assert (quantity.amount, quantity.unit.name) == (amount, name)


def test_without_a_number_there_is_no_quantity():
    assert parse_quantity("to taste") is None
    assert parse_quantity("") is None
    assert parse_with_rest("salt and pepper") == (None, "salt and pepper")
    assert parse_with_rest("2 cups flour")[1] == "flour"


amounts = st.floats(0, 100_000, allow_nan=False)
units = st.sampled_from(sorted({unit.name for unit in UNITS.values()})).map(UNITS.__getitem__)
foods = st.sampled_from(["olive oil", "flour", "milk", "rice", "egg", "onion", "thing", ""])


@given(st.text(max_size=60), st.text(max_size=10), foods)
def test_whatever_is_written_weighs_something_sensible(text: str, unit: str, food: str):
    quantity = parse_quantity(text, unit)
    if quantity is not None:
        grams = grams_of(quantity, food)
        assert math.isfinite(grams)
        assert grams >= 0


@given(amounts, units)
def test_what_was_parsed_is_parsed_the_same_again(amount: float, unit: Any):
    once = parse_quantity(str(Quantity(amount, unit)))
    assert once is not None
    assert parse_quantity(str(once)) == once
    assert once.amount == pytest.approx(amount, abs=1e-6)
    assert once.unit == unit


@given(amounts, amounts, units, foods)
def test_larger_quantity_never_weighs_less(one: float, other: float, unit: Any, food: str):
    less, more = sorted((one, other))
    assert grams_of(Quantity(less, unit), food) <= grams_of(Quantity(more, unit), food)


@given(st.floats(0, 1000, allow_nan=False), foods)
def test_units_are_worth_each_other(amount: float, food: str):
    def grams(times: float, unit: str) -> float:
        return grams_of(Quantity(amount * times, UNITS[unit]), food)

    for many, small, large in (
        (1000, "g", "kg"), (1000, "ml", "l"), (10, "ml", "cl"), (3, "tsp", "tbsp"),
        (5, "ml", "tsp"), (16, "oz", "lb"),
    ):  # fmt: skip
        assert grams(many, small) == pytest.approx(grams(1, large), rel=1e-3)
    if "oil" not in food:  # a cup of it is given as a weight of its own
        assert grams(16, "tbsp") == pytest.approx(grams(1, "cup"))


@pytest.mark.parametrize(
    ("amount", "unit", "food", "grams"),
    [
        (4, "cup", "fresh spinach", 120),
        (2, "cup", "shredded cheddar cheese", 226),
        (1, "tbsp", "honey", 339 / 16),
        (2, "large", "garlic cloves", 12.5),
        (2, "small", "celery stalks", 60),
    ],
)
def test_measure_weighs_what_the_food_weighs(amount: float, unit: str, food: str, grams: float):
    assert grams_of(Quantity(amount, UNITS[unit]), food) == pytest.approx(grams)


def test_linked_ingredients_are_weighed_by_the_plain_table():
    for unit, grams in (
        ("g", 2), ("kg", 2000), ("oz", 56.7), ("pounds", 907.18), ("cups", 480), ("tbsp", 30),
        ("tsp", 10), ("ml", 2), ("litres", 2000), ("bunch", 200), ("", 200), (None, 200),
    ):  # fmt: skip
        assert plain_grams(2, unit) == pytest.approx(grams)


def candidate(name: str, number: int = 1) -> Candidate:
    return Candidate(0, number, name, "SR Legacy", 1, 1, 1, 1, 1, 1)


@pytest.mark.parametrize(
    ("requested", "rows", "matched"),
    [
        ("egg", ["Eggplant, raw", "Egg, whole, raw"], "Egg, whole, raw"),
        ("ham", ["Hamburger"], None),
        (
            "butter",
            ["Butterbur, butter style", "Peanut butter", "Butter, salted"],
            "Butter, salted",
        ),
        ("oil", ["Fish oil, sardine", "Oil, vegetable"], "Oil, vegetable"),
        ("salt", ["Nuts, mixed, with salt", "Salt, table"], "Salt, table"),
        ("tomato", ["Soup, tomato", "Tomato"], "Tomato"),
        ("lemon juice", ["Lemons, raw", "Lemon juice, raw"], "Lemon juice, raw"),
        ("red wine vinegar", ["Vinegar, red wine"], "Vinegar, red wine"),
        ("vinegar", ["Vinegar, red wine", "Vinegar, cider"], "Vinegar, cider"),
        ("chopped fresh basil leaves", ["Basil, fresh"], "Basil, fresh"),
        ("unobtainium", ["Tomato"], None),
    ],
)
def test_best_match_of_names(requested: str, rows: list[str], matched: str | None):
    found = best_match(normal_name(requested), [candidate(n, i) for i, n in enumerate(rows)])
    assert (found and found.name) == matched


@given(st.text(max_size=80), st.text(max_size=80))
def test_scores_are_from_0_to_1_and_names_stay_normal(requested: str, row: str):
    assert 0 <= score(normal_name(requested), (), row) <= 1
    assert normal_name(normal_name(requested)) == normal_name(requested)


def test_items_of_every_stored_format():
    given_ = [
        {"name": "egg", "amount": 2, "unit": "piece"},
        {"item": "salt", "quantity": "1 tsp"},
        {"ingredient": "oil"},
        "2 cups flour",
        "pepper",
        {"amount": "3"},
        7,
        None,
    ]
    assert [item.name for item in items_of(given_)] == ["egg", "salt", "oil", "flour", "pepper"]


@pytest.fixture
async def seeded(food_app: FoodApp, fresh_database_url: str) -> FoodApp:
    """The catalogue of the sandbox."""
    await seed(food_app.gotrue, as_owner(fresh_database_url))
    return food_app


async def test_figures_of_the_sandbox_model_agree_with_the_sum_of_the_ingredients(seeded: FoodApp):
    foods = list({food.name: food for food in (*FOODS, *map(staple, STAPLES))}.values())
    in_catalogue, own, calculated = 0, 0.0, 0.0
    for start in range(0, len(foods), MAX_ITEMS):
        part = foods[start : start + MAX_ITEMS]
        data = await calculate(
            seeded, *((food.name, f"{food.count:g} {food.unit}") for food in part), servings=1
        )
        by_name = {row["inputName"]: row for row in data["nutrition"]["ingredientBreakdown"]}
        in_catalogue += len(by_name)
        for food in part:
            if food.name not in by_name:
                continue
            kcal = by_name[food.name]["nutrition"]["calories"]
            expected = food.kcal * food.grams / 100
            assert kcal == pytest.approx(expected, rel=0.15, abs=12), food.name
            own, calculated = own + expected, calculated + kcal
    assert in_catalogue >= 0.95 * len(foods)
    assert calculated == pytest.approx(own, rel=0.05)
