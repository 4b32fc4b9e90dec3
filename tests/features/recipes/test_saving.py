"""Saving and favouriting recipes, on the whole program."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from cookcam.features.recipes.saving import store
from tests.features.conftest import ApiUser, Response
from tests.support.social import UNKNOWN, ApiServer, as_of, open_api_server, refused, restarted


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with open_api_server(database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
async def ann(api: ApiServer) -> ApiUser:
    return await api.person("Ann")


@pytest.fixture
async def bob(api: ApiServer) -> ApiUser:
    return await api.person("Bob")


async def bare(person: ApiUser, path: str) -> Response:
    """A POST as the app sends it: a JSON type, and no body."""
    return await person.request("POST", path, headers={"Content-Type": "application/json"})


async def later(api: ApiServer, seconds: int = 3) -> None:
    """What would be so if the toggles up to now had been that long ago."""
    await api.sql(
        "update favorite_toggles set toggled_at = toggled_at - make_interval(secs => %(s)s)",
        s=seconds,
    )


async def saved(person: ApiUser) -> list[str]:
    body = (await person.get("/recipes/saved/my?limit=50&offset=0")).json()
    assert body["total"] == len(body["saved_recipes"])
    return [item["recipe"]["id"] for item in body["saved_recipes"]]


async def saves_count(api: ApiServer, recipe: str) -> int:
    return await api.value("select saves_count from recipes where id = %(id)s", id=recipe)


class TestSaving:
    async def test_post_toggles_and_delete_removes(self, api: ApiServer, ann: ApiUser):
        recipe = await api.recipe(ann)
        states: list[Any] = []
        for method in ("POST", "POST", "POST", "DELETE", "DELETE"):
            response = await ann.request(method, f"/recipes/{recipe}/save")
            assert response.status_code == 200
            assert set(response.json()) == {"message", "saved"}
            states.append(response.json()["saved"])
        assert states == [True, False, True, False, False]
        assert await saves_count(api, recipe) == 0
        assert await api.xp(ann) == 0

    async def test_unknown_or_invisible_recipe_cannot_be_saved(
        self, api: ApiServer, ann: ApiUser, bob: ApiUser
    ):
        draft = await api.recipe(bob, is_published=False)
        for recipe in (UNKNOWN, "7", "x" * 36, draft):
            for what in ("save", "favorite"):
                for method in ("POST", "DELETE"):
                    response = await ann.request(method, f"/recipes/{recipe}/{what}")
                    refused(response, 404, "Recipe not found")
        kept = "select count(*) from favorite_toggles where user_id = %(id)s"
        assert await api.value(kept, id=ann.id) == 0
        for method, path in (
            ("POST", f"/recipes/{UNKNOWN}/save"),
            ("DELETE", f"/recipes/{UNKNOWN}/save"),
            ("POST", f"/recipes/{UNKNOWN}/favorite"),
            ("DELETE", f"/recipes/{UNKNOWN}/favorite"),
            ("GET", "/recipes/saved/my"),
        ):
            refused(await api.guest.request(method, path), 401, "Authentication required")

    async def test_plan_limits_the_number_of_saved_recipes(self, api: ApiServer, ann: ApiUser):
        full = [await api.recipe(ann) for _ in range(3)]
        await api.sql(
            "insert into recipes (title, created_by) select 'Filler ' || n, %(id)s"
            " from generate_series(1, 49) as n",
            id=ann.id,
        )
        await api.sql(
            "insert into saved_recipes (user_id, recipe_id)"
            " select %(id)s, id from recipes where created_by = %(id)s and title like 'Filler%%'",
            id=ann.id,
        )
        responses: list[Response] = []

        async def save(recipe: str) -> None:
            responses.append(await ann.post(f"/recipes/{recipe}/save"))

        async with trio.open_nursery() as nursery:
            for recipe in full:
                nursery.start_soon(save, recipe)
        assert sorted(response.status_code for response in responses) == [200, 403, 403]
        (taken,) = set(full) & set(await saved(ann))
        other = next(recipe for recipe in full if recipe != taken)
        body = refused(await bare(ann, f"/recipes/{other}/favorite"), 403, "Limit reached")
        assert body["code"] == "LIMIT_REACHED"
        assert (body["limit"], body["usage"]) == (50, 50)
        assert body["upgradeUrl"] == "/subscription/upgrade"
        assert await api.xp(ann) == 0
        # Removing is free, and makes room.
        assert (await ann.post(f"/recipes/{taken}/save")).json()["saved"] is False
        assert (await ann.post(f"/recipes/{other}/save")).json()["saved"] is True

    async def test_hundred_concurrent_toggles(self, api: ApiServer, ann: ApiUser, bob: ApiUser):
        recipe = await api.recipe(bob)
        responses: list[Response] = []

        async def toggle() -> None:
            responses.append(await ann.post(f"/recipes/{recipe}/save"))

        async with trio.open_nursery() as nursery:
            for _ in range(101):
                nursery.start_soon(toggle)
        assert {response.status_code for response in responses} == {200}
        states = [response.json()["saved"] for response in responses]
        assert (states.count(True), states.count(False)) == (51, 50)
        assert await saved(ann) == [recipe]
        assert await saves_count(api, recipe) == 1


class TestFavorites:
    async def test_adding_a_favorite_earns_xp_once(self, api: ApiServer, ann: ApiUser):
        recipe = await api.recipe(ann)
        first = await bare(ann, f"/recipes/{recipe}/favorite")
        assert first.status_code == 200
        body = first.json()
        assert (body["success"], body["favorited"], body["xp_awarded"]) == (True, True, 10)
        assert body["message"]
        await later(api)
        assert (await bare(ann, f"/recipes/{recipe}/favorite")).json()["favorited"] is False
        await later(api)
        again = (await bare(ann, f"/recipes/{recipe}/favorite")).json()
        assert (again["favorited"], again["xp_awarded"]) == (True, 0)
        assert await api.xp(ann) == 10

    async def test_repeated_toggle_gets_the_first_response(self, api: ApiServer, ann: ApiUser):
        recipe = await api.recipe(ann)
        path = f"/recipes/{recipe}/favorite"
        assert (await bare(ann, path)).json()["favorited"] is True
        await later(api, seconds=2)
        repeated = (await bare(ann, path)).json()
        assert (repeated["favorited"], repeated["xp_awarded"]) == (True, 0)
        # The time runs from the first, not from its repetition.
        await later(api, seconds=1)
        assert (await bare(ann, path)).json()["favorited"] is False
        assert (await bare(ann, path)).json()["favorited"] is False
        assert await saved(ann) == []

    async def test_toggle_after_another_change_or_with_explicit_state_is_no_repetition(
        self, api: ApiServer, ann: ApiUser
    ):
        recipe = await api.recipe(ann)
        assert (await bare(ann, f"/recipes/{recipe}/favorite")).json()["favorited"] is True
        assert (await ann.delete(f"/recipes/{recipe}/favorite")).json()["favorited"] is False
        assert (await bare(ann, f"/recipes/{recipe}/favorite")).json()["favorited"] is True
        # An explicit wish is no toggle.
        recipe = await api.recipe(ann)
        path = f"/recipes/{recipe}/favorite"
        results = [
            (await ann.post(path, {"favorited": wish})).json()["favorited"]
            for wish in (False, True, True, False, False, True)
        ]
        assert results == [False, True, True, False, False, True]
        assert await saves_count(api, recipe) == 1
        assert await api.xp(ann) == 20
        refused(await ann.post(path, {"favorited": "yes"}), 400, "VALIDATION_ERROR")

    async def test_hundred_concurrent_toggles_count_as_one(
        self, api: ApiServer, ann: ApiUser, bob: ApiUser, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(store, "REPEAT_WINDOW", 600)  # a busy machine takes longer than 3 s
        recipe = await api.recipe(bob)
        responses: list[Response] = []

        async def toggle() -> None:
            responses.append(await bare(ann, f"/recipes/{recipe}/favorite"))

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(toggle)
        assert {response.status_code for response in responses} == {200}
        assert {response.json()["favorited"] for response in responses} == {True}
        assert sum(response.json()["xp_awarded"] for response in responses) == 10
        assert await saved(ann) == [recipe]
        assert await api.xp(ann) == 10
        assert await saves_count(api, recipe) == 1

    async def test_concurrent_opposite_requests_do_not_fail(
        self, api: ApiServer, ann: ApiUser, bob: ApiUser
    ):
        recipe = await api.recipe(bob)
        requests = [
            ("POST", f"/recipes/{recipe}/save", None),
            ("DELETE", f"/recipes/{recipe}/save", None),
            ("POST", f"/recipes/{recipe}/favorite", {"favorited": True}),
            ("POST", f"/recipes/{recipe}/favorite", {"favorited": False}),
            ("POST", f"/recipes/{recipe}/rate", {"rating": 4}),
        ]
        statuses: list[int] = []

        async def send(person: ApiUser, method: str, path: str, body: Any) -> None:
            statuses.append((await person.request(method, path, json=body)).status_code)

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                for method, path, body in requests:
                    nursery.start_soon(send, ann, method, path, body)
                    nursery.start_soon(send, bob, method, path, body)
        assert statuses == [200] * 100
        rows = await api.value(
            "select count(*) from saved_recipes where recipe_id = %(id)s", id=recipe
        )
        assert await saves_count(api, recipe) == rows
        assert await api.xp(ann) <= 10

    async def test_recipe_deleted_concurrently_is_not_found(
        self, api: ApiServer, ann: ApiUser, bob: ApiUser
    ):
        statuses: set[int] = set()

        async def send(person: ApiUser, method: str, path: str) -> None:
            statuses.add((await person.request(method, path)).status_code)

        for _ in range(4):
            recipe = await api.recipe(bob)
            await ann.post(f"/recipes/{recipe}/save")
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    for person in (ann, bob):
                        nursery.start_soon(send, person, "POST", f"/recipes/{recipe}/save")
                        nursery.start_soon(send, person, "POST", f"/recipes/{recipe}/favorite")
                nursery.start_soon(send, bob, "DELETE", f"/recipes/{recipe}")
        assert statuses <= {200, 404}
        assert await saved(ann) == await saved(bob) == []

    async def test_old_toggles_are_deleted(self, api: ApiServer, ann: ApiUser):
        for _ in range(3):
            await later(api)
            await bare(ann, f"/recipes/{await api.recipe(ann)}/favorite")
        kept = "select count(*) from favorite_toggles where user_id = %(id)s"
        assert await api.value(kept, id=ann.id) == 1


class TestSavedList:
    async def test_saved_list_reflects_changes_after_a_restart(
        self, api: ApiServer, ann: ApiUser, bob: ApiUser
    ):
        """The membership that the app shows, also after a restart."""
        recipe = await api.recipe(bob)
        path = f"/recipes/{recipe}/favorite"
        assert (await bare(ann, path)).json()["favorited"] is True
        assert await saved(ann) == [recipe]
        async with restarted(api) as second:
            ann = as_of(ann, second)
            assert await saved(ann) == [recipe]
            assert (await bare(ann, path)).json()["favorited"] is True  # a repetition, elsewhere
            await later(api)
            assert (await bare(ann, path)).json()["favorited"] is False
            assert await saved(ann) == []
        async with restarted(api) as third:
            ann = as_of(ann, third)
            assert await saved(ann) == []
            await later(api)
            assert (await bare(ann, path)).json()["favorited"] is True
            assert await saved(ann) == [recipe]

    async def test_saved_list_items_are_complete_and_newest_first(
        self, api: ApiServer, ann: ApiUser, bob: ApiUser
    ):
        recipe = await api.recipe(
            bob,
            description="Red",
            cuisine="thai",
            prep_time=5,
            cook_time=20,
            difficulty="easy",
            servings=2,
            ingredients=["chili"],
            instructions=[{"step": 1, "instruction": "Stir", "time": 3}],
        )
        await ann.post(f"/recipes/{recipe}/save")
        body = (await ann.get("/recipes/saved/my?limit=50&offset=0")).json()
        assert body["success"] is True
        (item,) = body["saved_recipes"]
        assert item["created_at"].endswith("Z")
        row = item["recipe"]
        wanted = {
            "id": recipe,
            "description": "Red",
            "prep_time_minutes": 5,
            "cook_time_minutes": 20,
            "total_time_minutes": 25,
            "difficulty": "easy",
            "cuisine_type": "thai",
            "servings": 2,
            "ingredients": ["chili"],
            "instructions": [{"step": 1, "instruction": "Stir", "time": 3}],
            "image_url": None,
            "creator": {"id": bob.id, "name": "Bob", "avatar_url": None, "level": 1},
            "creator_name": "Bob",
            "saves_count": 1,
            "is_favorited": True,
        }
        assert {key: row[key] for key in wanted} == wanted
        assert row["title"]
        await ann.delete(f"/recipes/{recipe}/save")
        recipes = [await api.recipe(ann) for _ in range(4)]
        for recipe in recipes:
            await ann.post(f"/recipes/{recipe}/save")

        async def page(query: str) -> tuple[list[str], int]:
            body = (await ann.get(f"/recipes/saved/my{query}")).json()
            return [item["recipe"]["id"] for item in body["saved_recipes"]], body["total"]

        newest = recipes[::-1]
        assert await page("") == (newest, 4)
        assert await page("?limit=2&offset=1") == (newest[1:3], 4)
        assert await page("?offset=9") == ([], 4)
        for query, literal in (
            ("limit=0", "Invalid limit parameter (1-100)"),
            ("offset=-1", "Invalid offset parameter"),
        ):
            refused(await ann.get(f"/recipes/saved/my?{query}"), 400, literal)

    async def test_withdrawn_recipe_is_left_out_of_the_list(
        self, api: ApiServer, ann: ApiUser, bob: ApiUser
    ):
        recipe = await api.recipe(bob)
        await ann.post(f"/recipes/{recipe}/save")
        await bob.put(f"/recipes/{recipe}", {"is_published": False})
        assert await saved(ann) == []
        assert (await ann.delete(f"/recipes/{recipe}/save")).json()["saved"] is False
        refused(await ann.delete(f"/recipes/{recipe}/save"), 404, "Recipe not found")
        tag = f"t{ann.id[:8]}"
        mine, other = [await api.recipe(ann, tags=[tag]) for _ in range(2)]
        await ann.post(f"/recipes/{mine}/favorite", {"favorited": True})

        async def marks(person: Any) -> dict[str, Any]:
            rows = (await person.get(f"/recipes?tags={tag}")).json()["recipes"]
            return {row["id"]: row.get("is_favorited") for row in rows}

        assert await marks(ann) == {mine: True, other: False}
        assert await marks(bob) == {mine: False, other: False}
        assert await marks(api.guest) == {mine: None, other: None}
        assert (await ann.get(f"/recipes/{mine}")).json()["data"]["is_favorited"] is True
        assert (await bob.get(f"/recipes/{mine}")).json()["data"]["is_favorited"] is False
        changed = await ann.put(f"/recipes/{mine}", {"servings": 3})
        assert changed.json()["is_favorited"] is True


async def test_server_errors_use_the_message_of_the_endpoint(api: ApiServer, ann: ApiUser):
    recipe = await api.recipe(ann)
    save, favorite = f"/recipes/{recipe}/save", f"/recipes/{recipe}/favorite"
    async with api.without("saved_recipes"):
        refused(await ann.post(save), 500, "Failed to save recipe")
        refused(await ann.delete(save), 500, "Failed to unsave recipe")
        refused(await bare(ann, favorite), 500, "Failed to add recipe to favorites")
        refused(await ann.delete(favorite), 500, "Failed to remove recipe from favorites")
        refused(await ann.get("/recipes/saved/my"), 500, "Failed to fetch saved recipes")
    await ann.post(save)
    async with api.failing("delete", "saved_recipes"):
        refused(await ann.post(save), 500, "Failed to unsave recipe")
        refused(await bare(ann, favorite), 500, "Failed to remove recipe from favorites")
    assert await saved(ann) == [recipe]
