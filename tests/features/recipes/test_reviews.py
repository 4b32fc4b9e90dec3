"""Reading the reviews of a recipe, on the whole program."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cookcam.features.recipes.ratings.routes import ReviewListResponse
from tests.features.conftest import ApiUser
from tests.support.pages import decoded, walk
from tests.support.social import UNKNOWN, ApiServer, open_api_server, refused

REVIEWS = """
with reviewers as (
  insert into auth.users (email) select gen_random_uuid() || '@example.test'
  from generate_series(1, %(count)s) returning id
)
insert into recipe_ratings (user_id, recipe_id, rating, review, created_at)
select id, %(recipe)s, 4, 'Good', '2026-01-31T12:34:56.789012Z' from reviewers
"""


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


async def test_reviews_are_listed_newest_first_for_users_and_guests(
    api: ApiServer, ann: ApiUser, bob: ApiUser
):
    recipe = await api.recipe(ann)
    path = f"/recipes/{recipe}/reviews"
    assert (await api.guest.get(path)).json() == {"reviews": [], "next_cursor": None}
    await bob.post(f"/recipes/{recipe}/rate", {"rating": 4, "review": 'Good <3 "so" 100%'})
    await ann.post(f"/recipes/{recipe}/rate", {"rating": 5, "review": "Mine"})
    starred = await api.person("Carol")
    await starred.post(f"/recipes/{recipe}/rate", {"rating": 1})
    for client in (api.guest, ann, bob):
        response = await client.get(path)
        assert response.headers["content-type"] == "application/json; charset=utf-8"
        first, second = decoded(response, ReviewListResponse).reviews
        assert (str(first.user.id), first.user.name, first.review) == (ann.id, "Ann", "Mine")
        assert response.json()["reviews"][1]["user"] == {
            "id": bob.id,
            "name": "Bob",
            "avatar_url": None,
            "level": 1,
        }
        assert (second.rating, second.review) == (4, 'Good <3 "so" 100%')
        assert response.json()["reviews"][1]["created_at"].endswith("Z")
        assert len(response.json()["reviews"][1]["created_at"]) == 24
    repeated = await api.guest.get(path, headers={"If-None-Match": response.headers["etag"]})
    assert repeated.status_code == 304


async def test_reviews_are_as_readable_as_their_recipe(api: ApiServer, ann: ApiUser, bob: ApiUser):
    draft = await api.recipe(ann, is_published=False)
    path = f"/recipes/{draft}/reviews"
    await ann.post(f"/recipes/{draft}/rate", {"rating": 5, "review": "Mine"})
    assert len((await ann.get(path)).json()["reviews"]) == 1
    for client in (api.guest, bob):
        refused(await client.get(path), 404, "Recipe not found")
    for unknown in (UNKNOWN, "soup"):
        refused(await ann.get(f"/recipes/{unknown}/reviews"), 404, "Recipe not found")


async def test_pages_of_equal_times_neither_repeat_nor_skip_a_review(api: ApiServer, ann: ApiUser):
    recipe = await api.recipe(ann)
    await api.sql(REVIEWS, recipe=recipe, count=7)
    path = f"/recipes/{recipe}/reviews"
    pages = await walk(api.guest.get, path, "reviews", 3)
    assert [len(page) for page in pages] == [3, 3, 1]
    ids = [review["user"]["id"] for page in pages for review in page]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 7
    # A review that is added or removed does not shift the next page.
    first = (await api.guest.get(path, params={"limit": 3})).json()
    await ann.post(f"/recipes/{recipe}/rate", {"rating": 5, "review": "New"})
    await api.sql("delete from recipe_ratings where user_id = %(id)s", id=ids[2])
    following = {"limit": 3, "cursor": first["next_cursor"]}
    response = await api.guest.get(path, params=following)
    assert [review["user"]["id"] for review in response.json()["reviews"]] == ids[3:6]


@pytest.mark.parametrize(
    "cursor",
    ["x", "1", "_a", "1_", "12345678901234567_a", "1_a\n", "-1_a", "1_" + "a" * 65, "\u0661_a"],
)
async def test_invalid_cursor_is_rejected(api: ApiServer, ann: ApiUser, cursor: str):
    recipe = await api.recipe(ann)
    response = await ann.get(f"/recipes/{recipe}/reviews", params={"cursor": cursor})
    body = refused(response, 400, "VALIDATION_ERROR")
    assert body["details"]["field"] == "cursor"
