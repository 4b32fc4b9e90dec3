"""What guests see of recipes, cached totals, and the counting of views, on the whole program."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.features.conftest import ApiUser, Client
from tests.support.social import ApiServer, open_api_server


@pytest.fixture
async def generation_app(database_url: str, tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with open_api_server(database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
async def ann(generation_app: ApiServer) -> ApiUser:
    return await generation_app.person("Ann")


async def item(client: Client, recipe: str) -> dict[str, Any]:
    return (await client.get(f"/recipes/{recipe}")).json()["data"]


async def titles(client: Client, author: ApiUser) -> list[str]:
    body = (await client.get(f"/recipes?user_id={author.id}")).json()
    return [row["title"] for row in body["recipes"]]


async def test_guests_see_what_is_stored_and_published(generation_app: ApiServer, ann: ApiUser):
    recipe = await generation_app.recipe(ann, title="First", description="one")
    guest = generation_app.guest
    assert await titles(guest, ann) == ["First"]
    assert (await item(guest, recipe))["description"] == "one"
    # Lists of guests and of people do not mix.
    draft = await generation_app.recipe(ann, title="Draft", is_published=False)
    assert await titles(ann, ann) == ["Draft", "First"]
    assert await titles(guest, ann) == ["First"]
    assert (await ann.delete(f"/recipes/{draft}")).status_code == 200
    await generation_app.sql("update recipes set description = 'two' where id = %(id)s", id=recipe)
    for_guest, for_ann = await item(guest, recipe), await item(ann, recipe)
    assert for_guest["description"] == "two"
    assert for_guest.keys() == for_ann.keys() - {"is_favorited", "ai_metadata"}

    await ann.put(f"/recipes/{recipe}", {"title": "Second"})
    assert (await item(guest, recipe))["title"] == "Second"
    assert await titles(guest, ann) == ["Second"]
    await generation_app.recipe(ann, title="Third")
    assert await titles(guest, ann) == ["Third", "Second"]
    await ann.put(f"/recipes/{recipe}", {"is_published": False})
    assert (await guest.get(f"/recipes/{recipe}")).status_code == 404
    assert await titles(guest, ann) == ["Third"]
    await ann.put(f"/recipes/{recipe}", {"is_published": True})
    assert (await item(guest, recipe))["title"] == "Second"
    await ann.delete(f"/recipes/{recipe}")
    assert (await guest.get(f"/recipes/{recipe}")).status_code == 404
    assert await titles(guest, ann) == ["Third"]


async def test_number_of_published_recipes_is_cached_until_a_write(
    generation_app: ApiServer, ann: ApiUser
):
    async def total(reader: Client) -> int:
        body = (await reader.get(f"/recipes?user_id={ann.id}")).json()
        return body["pagination"]["total"]

    recipe = await generation_app.recipe(ann)
    assert (await total(generation_app.guest), await total(ann)) == (1, 1)
    # Not through the program: the next write makes it count again.
    await generation_app.sql(
        "insert into recipes (created_by, title, is_published) values (%(id)s, 'x', true)",
        id=ann.id,
    )
    assert await total(ann) == 1
    await generation_app.recipe(ann, is_published=False)
    assert (await total(generation_app.guest), await total(ann)) == (1, 2)
    await ann.delete(f"/recipes/{recipe}")
    assert (await total(generation_app.guest), await total(ann)) == (1, 2)


async def test_guests_see_changed_counters_of_a_recipe(generation_app: ApiServer, ann: ApiUser):
    recipe = await generation_app.recipe(ann)
    bob = await generation_app.person("Bob")
    seen: list[tuple[int, float]] = []
    for method, path, body in (
        ("GET", f"/recipes/{recipe}/completion-photos", None),
        ("POST", f"/recipes/{recipe}/save", None),
        ("POST", f"/recipes/{recipe}/rate", {"rating": 3}),
        ("DELETE", f"/recipes/{recipe}/favorite", None),
        ("POST", f"/recipes/{recipe}/favorite", None),
    ):
        response = await bob.request(method, path, json=body)
        assert response.status_code == 200, response.text
        row = await item(generation_app.guest, recipe)
        seen.append((row["saves_count"], row["rating_avg"]))
    assert seen == [(0, 0), (1, 0), (1, 3), (0, 3), (1, 3)]


async def test_view_counts_once_per_reader(generation_app: ApiServer, ann: ApiUser):
    recipe = await generation_app.recipe(ann)
    draft = await generation_app.recipe(ann, is_published=False)
    bob = await generation_app.person("Bob")

    async def views(which: str) -> int:
        return await generation_app.value(
            "select view_count from recipes where id = %(id)s", id=which
        )

    counts: list[int] = []
    for reader in (bob, bob, generation_app.guest, generation_app.guest, ann):
        await item(reader, recipe)
        counts.append(await views(recipe))
    assert counts == [1, 1, 2, 2, 3]
    await item(ann, draft)
    assert await views(draft) == 0
    # A view that cannot be counted is shown.
    recipe = await generation_app.recipe(ann)
    await generation_app.sql("alter function increment_recipe_views(uuid) rename to lost")
    try:
        assert (await ann.get(f"/recipes/{recipe}")).status_code == 200
    finally:
        await generation_app.sql("alter function lost(uuid) rename to increment_recipe_views")
    assert (await item(ann, recipe))["view_count"] == 0
    assert (await item(ann, recipe))["view_count"] == 1
