"""Completion photos, on the whole program with its storage."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from cookcam.sandbox.gotrue import Failure
from tests.features.conftest import ApiUser, Client, Response
from tests.images.pictures import opened, plain, png_bomb
from tests.support.social import UNKNOWN, ApiServer, open_api_server, refused


@pytest.fixture
async def generation_app(database_url: str, tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with open_api_server(database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
async def ann(generation_app: ApiServer) -> ApiUser:
    return await generation_app.person("Ann")


@pytest.fixture
async def bob(generation_app: ApiServer) -> ApiUser:
    return await generation_app.person("Bob")


MAX_SIZE = 10 * 1024 * 1024
"""Maximum bytes of a photograph."""


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def upload(person: Client, recipe: str, data: bytes, **more: Any) -> Response:
    body = {"imageData": text(data), **more}
    return await person.post(f"/recipes/{recipe}/upload-completion-photo", body)


def stored(generation_app: ApiServer) -> list[Path]:
    return [
        path
        for path in (generation_app.files.home / "completion-photos" / "content").rglob("*")
        if path.is_file()
    ]


async def test_photo_is_re_encoded_and_public(
    generation_app: ApiServer, ann: ApiUser, bob: ApiUser
):
    recipe = await generation_app.recipe(ann)
    answer = await upload(bob, recipe, plain(2400, 600, "PNG"), description="Mine <3")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["message"]
    assert body["xp_awarded"] == 75
    photo = body["photo"]
    assert (photo["recipe_id"], photo["user_id"]) == (recipe, bob.id)
    assert photo["description"] == "Mine <3"
    assert (body["photoUrl"], body["uploadedAt"]) == (photo["photo_url"], photo["uploaded_at"])
    assert f"/object/public/completion-photos/photos/{bob.id}/" in photo["photo_url"]
    async with httpx.AsyncClient() as client:
        public = await client.get(photo["photo_url"])
    assert public.headers["content-type"] == "image/jpeg"
    assert opened(public.content).size == (1920, 480)
    listed = (await generation_app.guest.get(f"/recipes/{recipe}/completion-photos")).json()
    assert listed == {
        "photos": [
            {
                "id": photo["id"],
                "photo_url": photo["photo_url"],
                "description": "Mine <3",
                "uploaded_at": photo["uploaded_at"],
                "user": {"name": "Bob"},
            }
        ],
        "total": 1,
    }


async def test_photo_of_the_maximum_size_fits_as_base64(generation_app: ApiServer, ann: ApiUser):
    recipe = await generation_app.recipe(ann)
    picture = plain()
    answer = await upload(ann, recipe, picture + b"\0" * (MAX_SIZE - len(picture)))
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
async def test_phone_photo_is_stored_as_jpeg(generation_app: ApiServer, ann: ApiUser, kind: str):
    recipe = await generation_app.recipe(ann)
    response = await upload(ann, recipe, plain(64, 48, kind))
    assert response.status_code == 200, response.text
    (path,) = stored(generation_app)
    assert opened(path.read_bytes()).size == (64, 48)


async def test_xp_is_awarded_once_per_recipe(generation_app: ApiServer, ann: ApiUser):
    recipe, other = (
        await generation_app.recipe(ann),
        await generation_app.recipe(ann, is_published=False),
    )
    awarded = [
        (await upload(ann, which, plain(8, 8, color=(n, 0, 0)))).json()["xp_awarded"]
        for n, which in enumerate((recipe, recipe, other))
    ]
    assert awarded == [75, 0, 75]
    assert await generation_app.xp(ann) == 150


async def test_repeated_upload_returns_the_first_photo(
    generation_app: ApiServer, ann: ApiUser, bob: ApiUser
):
    recipe = await generation_app.recipe(ann)
    responses: list[dict[str, Any]] = []

    async def send(person: ApiUser) -> None:
        responses.append((await upload(person, recipe, plain())).json())

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(send, bob)
    assert len({answer["photo"]["id"] for answer in responses}) == 1
    assert sorted(answer["xp_awarded"] for answer in responses) == [0, 0, 0, 75]
    await send(ann)
    assert responses[-1]["photo"]["id"] != responses[0]["photo"]["id"]
    assert len(stored(generation_app)) == 2


async def test_photos_are_listed_newest_first_with_the_total(
    generation_app: ApiServer, ann: ApiUser
):
    recipe = await generation_app.recipe(ann)
    await generation_app.sql(
        "insert into recipe_completion_photos (user_id, recipe_id, photo_url, uploaded_at)"
        " select %(user)s, %(recipe)s, 'https://x.test/' || n, now() - n * interval '1 hour'"
        " from generate_series(1, 5) as n",
        user=ann.id,
        recipe=recipe,
    )

    async def page(query: str) -> tuple[list[str], int]:
        body = (
            await generation_app.guest.get(f"/recipes/{recipe}/completion-photos{query}")
        ).json()
        return [photo["photo_url"][-1] for photo in body["photos"]], body["total"]

    assert await page("") == (["1", "2", "3", "4", "5"], 5)
    assert await page("?limit=2&offset=1") == (["2", "3"], 5)
    assert await page("?offset=7") == ([], 5)
    answer = await generation_app.guest.get(f"/recipes/{recipe}/completion-photos?limit=101")
    refused(answer, 400, "Invalid limit parameter (1-100)")


async def test_invalid_input_is_rejected(generation_app: ApiServer, ann: ApiUser, bob: ApiUser):
    recipe = await generation_app.recipe(ann)
    path = f"/recipes/{recipe}/upload-completion-photo"
    for body in ({}, {"imageData": None}, {"imageData": " "}, {"imageData": 7}):
        refused(await bob.post(path, body), 400, "Image data is required")
    long = await upload(bob, recipe, plain(), description="x" * 501)
    refused(long, 400, "VALIDATION_ERROR")
    for data, status, code in (
        (b"%PDF-1.7 no picture", 400, "UNSUPPORTED_IMAGE_TYPE"),
        (plain()[:200], 422, "INVALID_IMAGE"),
        (png_bomb(), 422, "INVALID_IMAGE"),
    ):
        answer = await upload(bob, recipe, data)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    answer = await bob.post(path, {"imageData": "no base64!"})
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_IMAGE")
    for size in (MAX_SIZE + 1, 12 * 1024 * 1024):  # refused by the picture, and by the body
        answer = await upload(bob, recipe, b"\0" * size)
        assert (answer.status_code, answer.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")
    draft = await generation_app.recipe(ann, is_published=False)
    for other in (UNKNOWN, "7", draft):
        refused(await upload(bob, other, plain()), 404, "Recipe not found")
        listed = await bob.get(f"/recipes/{other}/completion-photos")
        refused(listed, 404, "Recipe not found")
    refused(await upload(generation_app.guest, recipe, plain()), 401, "Authentication required")
    # There is no demonstration mode.
    demo = await generation_app.guest.request("POST", path, json={}, headers={"demo-mode": "true"})
    assert demo.status_code == 401
    assert stored(generation_app) == []
    assert await generation_app.xp(bob) == 0


async def test_failed_upload_leaves_no_object(generation_app: ApiServer, ann: ApiUser):
    recipe = await generation_app.recipe(ann)
    generation_app.storage.failure = Failure(500)
    answer = await upload(ann, recipe, plain())
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    generation_app.storage.failure = None
    async with generation_app.failing("insert", "recipe_completion_photos"):
        refused(await upload(ann, recipe, plain()), 500, "Internal server error")
    # As when the recipe is deleted, or withdrawn, while the picture is being stored.
    for code in ("23503", "42501"):
        async with generation_app.failing("insert", "recipe_completion_photos", code):
            refused(await upload(ann, recipe, plain()), 404, "Recipe not found")
    assert stored(generation_app) == []
    assert await generation_app.xp(ann) == 0
    answer = await upload(ann, recipe, plain())
    assert (answer.status_code, answer.json()["xp_awarded"]) == (200, 75)
    async with generation_app.without("recipe_completion_photos"):
        listed = await ann.get(f"/recipes/{recipe}/completion-photos")
    refused(listed, 500, "Internal server error")
