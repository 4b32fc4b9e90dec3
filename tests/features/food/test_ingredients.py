"""The ingredient catalogue over HTTP, with a real database and a fake USDA server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cookcam.features.food.ingredients.names import similarity, stem
from cookcam.features.food.ingredients.requests import clamped_limit, is_from_app
from cookcam.integrations.retry import RetryPolicy
from cookcam.integrations.usda import HourlyBudget, _Unreachable
from cookcam.sandbox.serving import Failure
from cookcam.sandbox.usda.server import API_KEY
from tests.features.conftest import Client
from tests.support.food import FoodApp, open_food_app, word

JSON = {"Content-Type": "application/json"}
QUICK = RetryPolicy(0.3, 3, initial_delay=0.001, retry_on=(_Unreachable,))


@pytest.fixture
async def food_app(database_url: str) -> AsyncIterator[FoodApp]:
    async with open_food_app(database_url) as opened:
        yield opened


class TestSearching:
    async def test_search_returns_the_documented_envelope(self, food_app: FoodApp):
        name = word()
        row = await food_app.add(f"{name} raw", 52, 0.3, 13.8, 0.2, 1, category="Fruit")
        response = await food_app.guest.get("/ingredients/search", params={"q": name})
        assert response.status_code == 200
        body = response.json()
        assert body["success"] is True
        assert (body["data"]["source"], body["data"]["total"]) == ("local", 1)
        (found,) = body["data"]["results"]
        assert (found["id"], found["name"], found["category"]) == (row, f"{name} raw", "Fruit")
        assert found["calories_per_100g"] == 52
        assert found["fiber_g_per_100g"] is None
        assert found["tags"] == []
        assert found["created_at"].endswith("Z")
        legacy = await food_app.http.get("/api/ingredients/search", params={"query": name})
        assert legacy.json()["data"]["total"] == 1

    async def test_app_gets_an_array_with_titles(self, food_app: FoodApp):
        name = word()
        await food_app.add(name)
        await food_app.add(f"{name} dried")
        for query in ({"q": name, "limit": "1"}, {"query": name, "limit": "5"}):
            response = await food_app.guest.get("/ingredients/search", params=query, headers=JSON)
            rows = response.json()
            assert isinstance(rows, list)
            assert (rows[0]["name"], rows[0]["title"]) == (name, name)
            assert isinstance(rows[0]["id"], int)
            assert len(rows) == min(2, int(query["limit"]))
        none = await food_app.guest.get(
            "/ingredients/search", params={"q": word(), "limit": 1}, headers=JSON
        )
        assert none.json() == []
        huge = {"q": name, "limit": "1000"}
        response = await food_app.guest.get("/ingredients/search", params=huge, headers=JSON)
        assert len(response.json()) == 2

    def test_calls_of_the_app_are_recognized(self):
        assert is_from_app(["q", "limit"], "application/json")
        assert is_from_app(["limit", "query"], "Application/JSON; charset=utf-8")
        assert not is_from_app(["q"], "application/json")
        assert not is_from_app(["q", "query", "limit"], "application/json")
        assert not is_from_app(["q", "limit", "page"], "application/json")
        assert not is_from_app(["q", "limit"], "")
        assert not is_from_app(["q", "limit"], "text/plain")
        assert [clamped_limit(text, 20) for text in ("", "5", "0", "-3", "999", "x")] == [
            20, 5, 1, 1, 100, 20,
        ]  # fmt: skip

    async def test_misspellings_prefixes_parts_and_accents_match(self, food_app: FoodApp):
        name = word()
        await food_app.add(f"{name} crème brûlée")
        typo = name[:4] + name[5:]  # a letter is missing
        swapped = name[:5] + name[6] + name[5] + name[7:]
        queries = (name[:6], name[2:], typo, swapped, name.upper(), f"{typo} creme", f"({name}),")
        for query in queries:
            response = await food_app.guest.get("/ingredients/search", params={"q": query})
            names = [row["name"] for row in response.json()["data"]["results"]]
            assert f"{name} crème brûlée" in names, query

    async def test_most_similar_names_come_first_then_the_minimum(self, food_app: FoodApp):
        name = word()
        for added in (f"{name} soup with noodles", f"{name}s", f"roast {name}", name):
            await food_app.add(added)
        response = await food_app.guest.get("/ingredients/search", params={"q": name})
        names = [row["name"] for row in response.json()["data"]["results"]]
        assert names[0] == name
        assert names[-1] == f"{name} soup with noodles"

    async def test_search_text_is_never_query_syntax(self, food_app: FoodApp):
        await food_app.add(word())
        for text in ("%", "_", "a:*", "'", "\\", "a & b | !c", "x,y.eq.(1)", "<->", "ß", "🍅", "-"):
            response = await food_app.guest.get("/ingredients/search", params={"q": text})
            assert response.status_code == 200, text
        everything = await food_app.guest.get("/ingredients/search", params={"q": "%"})
        assert everything.json()["data"]["results"] == []

    async def test_invalid_input_is_rejected(self, food_app: FoodApp):
        for query in ({}, {"q": ""}, {"q": "  "}, {"limit": "3"}):
            response = await food_app.guest.get("/ingredients/search", params=query)
            assert response.status_code == 400
            assert response.json()["success"] is False
            assert response.json()["error"] == "Query parameter (q or query) is required"
        for query in ({"q": "x" * 101}, {"q": "a\0b"}):
            assert (
                await food_app.guest.get("/ingredients/search", params=query)
            ).status_code == 400
        for limit in ("0", "101", "abc", "-1"):
            response = await food_app.guest.get(
                "/ingredients/search", params={"q": "x", "limit": limit}
            )
            assert response.status_code == 400
            assert response.json()["error"] == "Invalid limit parameter (1-100)"


class TestRead:
    async def test_page_of_a_category(self, food_app: FoodApp):
        category = word()
        for name in ("c", "a", "b"):
            await food_app.add(name, category=category)
        response = await food_app.guest.get(
            "/ingredients", params={"category": category, "limit": 2, "page": 2}
        )
        assert response.status_code == 200
        data = response.json()["data"]
        assert [row["name"] for row in data["ingredients"]] == ["c"]
        assert data["pagination"] == {"page": 2, "limit": 2, "total": 3, "totalPages": 2}
        beyond = await food_app.guest.get("/ingredients", params={"category": category, "page": 9})
        assert beyond.json()["data"]["pagination"]["total"] == 3
        for query, words in (
            ({"page": "0"}, "Invalid page parameter"),
            ({"limit": "abc"}, "Invalid limit parameter (1-100)"),
        ):
            rejected = await food_app.guest.get("/ingredients", params=query)
            assert (rejected.status_code, rejected.json()["error"]) == (400, words)

    async def test_category_routes_are_not_ids(self, food_app: FoodApp):
        category = word()
        await food_app.add(word(), category=category)
        for path in ("/ingredients/categories", "/ingredients/meta/categories"):
            response = await food_app.guest.get(path)
            assert response.status_code == 200
            names = response.json()["data"]
            assert category in names
            assert names == sorted(set(names))

    async def test_single_ingredient(self, food_app: FoodApp):
        row = await food_app.add(word(), 10)
        response = await food_app.guest.get(f"/ingredients/{row}")
        assert response.json()["success"] is True
        assert response.json()["data"]["calories_per_100g"] == 10
        for missing in ("abc", "0", "-1", str(2**31), "99999999999", "1.5", "2147483647"):
            response = await food_app.guest.get(f"/ingredients/{missing}")
            assert response.status_code == 404, missing
            assert response.json()["error"] == "Ingredient not found"
            assert response.json()["success"] is False

    async def test_reads_are_cached(self, food_app: FoodApp):
        row = await food_app.add("before")
        await food_app.guest.get(f"/ingredients/{row}")
        async with food_app.database.transaction() as tx:
            await tx.execute("update public.ingredients set name = 'x' where id = %(id)s", id=row)
        assert (await food_app.guest.get(f"/ingredients/{row}")).json()["data"]["name"] == "before"

    async def test_failure_has_the_error_text_of_its_route(self, food_app: FoodApp):
        store = food_app.ingredients.store
        for path, words in (
            ("/ingredients/search?q=x", "Failed to search ingredients"),
            ("/ingredients", "Failed to fetch ingredients"),
            ("/ingredients/1", "Failed to fetch ingredient"),
        ):
            original = store.database
            object.__setattr__(store, "database", None)
            try:
                response = await food_app.guest.get(path)
            finally:
                object.__setattr__(store, "database", original)
            assert (response.status_code, response.json()["error"]) == (500, words)


class TestUsda:
    async def test_response_of_usda_is_under_data(self, food_app: FoodApp):
        response = await food_app.guest.get(
            "/ingredients/usda/search",
            params={"q": "cheddar cheese", "pageSize": 3, "dataType": "SR Legacy"},
        )
        assert response.status_code == 200
        data = response.json()["data"]
        assert {"totalHits", "currentPage", "totalPages", "pageList", "foods"} <= data.keys()
        assert len(data["foods"]) == 3
        first = data["foods"][0]
        assert (first["description"], first["dataType"]) == ("Cheese, cheddar", "SR Legacy")
        assert first["foodNutrients"][0]["nutrientId"] == 1008
        before = len(food_app.usda.behaviour.requests)
        again = await food_app.guest.get(
            "/ingredients/usda/search",
            params={"query": "cheddar cheese", "limit": 3, "dataType": "SR Legacy"},
        )
        assert again.json() == response.json()
        assert len(food_app.usda.behaviour.requests) == before  # kept for a day

    async def test_at_most_fifty_foods_are_requested(self, food_app: FoodApp):
        response = await food_app.guest.get(
            "/ingredients/usda/search", params={"q": "raw", "limit": 100}
        )
        assert len(response.json()["data"]["foods"]) == 50
        missing = await food_app.guest.get("/ingredients/usda/search")
        assert missing.status_code == 400
        assert missing.json()["error"] == "Query parameter (q or query) is required"

    async def test_failures_of_usda(self, food_app: FoodApp):
        behaviour = food_app.usda.behaviour
        behaviour.garbled = True
        response = await food_app.guest.get("/ingredients/usda/search", params={"q": "egg"})
        assert response.status_code == 500
        assert response.json()["error"] == "Failed to search USDA database"
        behaviour.garbled, behaviour.remaining = False, 0
        response = await food_app.guest.get("/ingredients/usda/search", params={"q": "egg"})
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "1800"
        assert response.json()["retryAfter"] == 1800
        assert API_KEY not in response.text

    async def test_guests_may_search_three_times_a_minute_and_users_ten(self, database_url: str):
        async with open_food_app(database_url, ENABLE_RATE_LIMITING="true") as food_app:
            await self._exhaust(food_app.guest, 3)
            await self._exhaust(await food_app.person(), 10)

    async def _exhaust(self, client: Client, allowed: int) -> None:
        for number in range(allowed + 1):
            response = await client.get("/ingredients/usda/search", params={"q": "egg"})
            assert response.status_code == (200 if number < allowed else 429)
        assert response.json()["retryAfter"] > 0


class TestSync:
    async def test_administrator_syncs_an_ingredient(self, food_app: FoodApp):
        admin = await food_app.person("Ada", role="admin")
        row = await food_app.add("Cheese, parmesan, grated", fiber_g_per_100g=7.5)
        await food_app.guest.get(f"/ingredients/{row}")
        response = await admin.post(f"/ingredients/{row}/sync-usda")
        assert response.status_code == 200, response.text
        data = response.json()["data"]
        assert data["usda_match"]["description"] == "Cheese, parmesan, grated"
        assert data["usda_match"]["dataType"] == "Foundation"
        assert data["nutrition"]["calories_per_100g"] == 421
        assert data["nutrition"]["sugar_g_per_100g"] == 0  # from total sugars, 2000
        assert data["ingredient"]["fdc_id"] == data["usda_match"]["fdcId"]
        assert data["ingredient"]["usda_sync_date"] is not None
        read = await food_app.guest.get(f"/ingredients/{row}")
        assert read.json()["data"]["protein_g_per_100g"] == 29.6  # not what was kept before
        other = await food_app.add("Cheese grated parmesan")
        conflict = await admin.post(f"/ingredients/{other}/sync-usda")
        assert conflict.status_code == 409

    async def test_sync_requires_an_administrator(self, food_app: FoodApp):
        row = await food_app.add("Butter")
        response = await food_app.guest.post(f"/ingredients/{row}/sync-usda")
        assert response.status_code == 401
        response = await (await food_app.person()).post(f"/ingredients/{row}/sync-usda")
        assert (response.status_code, response.json()["error"]) == (403, "Admin access required")

    async def test_food_of_another_name_is_no_match(self, food_app: FoodApp):
        admin = await food_app.person("Ada", role="admin")
        for name in ("Butter tart filling", "Eggplant parmesan casserole", word()):
            row = await food_app.add(name)
            response = await admin.post(f"/ingredients/{row}/sync-usda")
            assert response.status_code == 404, name
            assert response.json()["error"] == "No USDA data found for this ingredient"
        for missing in ("abc", "2147483647"):
            response = await admin.post(f"/ingredients/{missing}/sync-usda")
            assert (response.status_code, response.json()["error"]) == (404, "Ingredient not found")

    async def test_failed_sync_leaves_the_row_unchanged(self, food_app: FoodApp):
        admin = await food_app.person("Ada", role="admin")
        row = await food_app.add("Honey")
        food_app.usda.behaviour.garbled = True
        response = await admin.post(f"/ingredients/{row}/sync-usda")
        assert (response.status_code, response.json()["error"]) == (
            500,
            "Failed to sync with USDA data",
        )
        assert (await food_app.guest.get(f"/ingredients/{row}")).json()["data"]["fdc_id"] is None


async def test_unreachable_usda_is_a_503_soon(database_url: str):
    async with open_food_app(database_url, policy=QUICK, budget=HourlyBudget()) as food_app:
        food_app.usda.behaviour.delay = 30
        response = await food_app.guest.get("/ingredients/usda/search", params={"q": "egg"})
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "2"
        food_app.usda.behaviour.delay = 0
        food_app.usda.behaviour.failure = Failure(500, times=2)
        response = await food_app.guest.get("/ingredients/usda/search", params={"q": "egg"})
        assert response.status_code == 200  # the third try


@pytest.mark.parametrize(
    ("requested", "row", "least", "most"),
    [
        ("olive oil", "Oil, olive", 1, 1),
        ("tomatoes", "Tomato", 1, 1),
        ("egg", "Eggplant, raw", 0, 0),
        ("ham", "Hamburger, NFS", 0, 0),
        ("butter", "Butter, salted", 0.95, 0.95),
        ("extra virgin olive oil", "Olive oil", 0.9, 0.9),
        ("chicken breast", "Chicken, broilers or fryers, breast, meat only, raw", 0.85, 0.85),
        ("tomato soup", "Tomato", 0, 0.59),
        ("", "Tomato", 0, 0),
    ],
)
def test_similarity_of_names(requested: str, row: str, least: float, most: float):
    assert least <= similarity(requested, row) <= most


def test_singular_of_words():
    plurals = "tomatoes berries leaves onions radishes boxes eggs swiss asparagus gas"
    assert [stem(word) for word in plurals.split()] == [
        "tomato", "berry", "leaf", "onion", "radish", "box", "egg", "swiss", "asparagus", "gas",
    ]  # fmt: skip
