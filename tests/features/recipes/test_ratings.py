"""Rating recipes, on the whole program."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.features.conftest import ApiUser
from tests.support.social import UNKNOWN, ApiServer, open_api_server, refused


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


async def aggregates(api: ApiServer, recipe: str) -> tuple[float, int]:
    """As a guest reads them."""
    row = (await api.guest.get(f"/recipes/{recipe}")).json()["data"]
    return row["rating_avg"], row["rating_count"]


async def test_average_and_count_are_updated_by_each_rating(
    api: ApiServer, ann: ApiUser, bob: ApiUser
):
    recipe = await api.recipe(ann)
    path = f"/recipes/{recipe}/rate"
    assert await aggregates(api, recipe) == (0, 0)
    response = await bob.post(path, {"rating": 4, "review": "Good <3"})
    assert response.status_code == 200
    assert set(response.json()) == {"message"}
    assert await aggregates(api, recipe) == (4, 1)
    # The author's own is kept and not counted.
    assert (await ann.post(path, {"rating": 5})).status_code == 200
    assert await aggregates(api, recipe) == (4, 1)
    carol = await api.person("Carol")
    await carol.post(path, {"rating": 1, "review": None})
    assert await aggregates(api, recipe) == (2.5, 2)
    # A second rating replaces the first; a review stays until there is another.
    await bob.post(path, {"rating": 2.0})
    assert await aggregates(api, recipe) == (1.5, 2)
    ratings = await api.sql(
        "select r.rating, r.review from recipe_ratings r join users u on u.id = r.user_id"
        " where r.recipe_id = %(id)s order by u.name",
        id=recipe,
    )
    assert ratings == [(5, None), (2, "Good <3"), (1, None)]
    await bob.post(path, {"rating": 2, "review": "Better"})
    review = "select review from recipe_ratings where user_id = %(id)s"
    assert await api.value(review, id=bob.id) == "Better"


async def test_concurrent_ratings_are_all_counted(api: ApiServer, ann: ApiUser, bob: ApiUser):
    recipe = await api.recipe(ann)
    statuses: list[int] = []

    async def rate(person: ApiUser, stars: int) -> None:
        response = await person.post(f"/recipes/{recipe}/rate", {"rating": stars})
        statuses.append(response.status_code)

    carol = await api.person("Carol")
    async with trio.open_nursery() as nursery:
        for stars in (1, 2, 3, 4, 5) * 4:
            nursery.start_soon(rate, bob, stars)
            nursery.start_soon(rate, carol, stars)
    assert statuses == [200] * 40
    ((total, number),) = await api.sql(
        "select sum(rating), count(*) from recipe_ratings where recipe_id = %(id)s", id=recipe
    )
    assert number == 2
    assert await aggregates(api, recipe) == (total / 2, 2)


async def test_invalid_ratings_are_rejected(api: ApiServer, ann: ApiUser, bob: ApiUser):
    recipe = await api.recipe(ann)
    draft = await api.recipe(ann, is_published=False)
    bodies: list[Any] = [{}] + [
        {"rating": stars} for stars in (0, 6, 4.5, -1, "5", True, None, [5], 10**30)
    ]
    for body in bodies:
        response = await bob.post(f"/recipes/{recipe}/rate", body)
        refused(response, 400, "Rating must be between 1 and 5")
    long = await bob.post(f"/recipes/{recipe}/rate", {"rating": 5, "review": "x" * 1001})
    refused(long, 400, "VALIDATION_ERROR")
    for other in (UNKNOWN, draft, "7"):
        response = await bob.post(f"/recipes/{other}/rate", {"rating": 5})
        refused(response, 404, "Recipe not found")
    guest = await api.guest.post(f"/recipes/{recipe}/rate", {"rating": 5})
    refused(guest, 401, "Authentication required")
    assert await aggregates(api, recipe) == (0, 0)
    async with api.without("recipe_ratings"):
        response = await bob.post(f"/recipes/{recipe}/rate", {"rating": 5})
        refused(response, 500, "Failed to rate recipe")
