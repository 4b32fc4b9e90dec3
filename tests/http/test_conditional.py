from __future__ import annotations

from typing import Any

import pytest

from cookcam.http import Routes, unconditional
from tests.http.client import Client


@pytest.fixture
def client(make_site: Any) -> Client:
    bp = Routes("things", __name__)
    things = {"n": 1}

    @bp.get("/things")
    async def read() -> Any:
        return things

    @bp.post("/things")
    async def change() -> Any:
        things["n"] += 1
        return things

    @bp.get("/made")
    async def made() -> Any:
        return things, 202

    @bp.get("/clock")
    @unconditional
    async def clock() -> Any:
        return things

    return make_site(bp).client()


async def test_a_client_that_has_the_response_gets_304(client: Client) -> None:
    first = await client.get("/api/v1/things")
    tag = first.headers["etag"]
    assert tag.startswith('W/"')
    again = await client.get("/api/v1/things", if_none_match=tag)
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == tag
    assert "content-type" not in again.headers
    assert "content-length" not in again.headers


@pytest.mark.parametrize("form", ["{}", '"other", {}', 'W/"a",{} , "b"', "*"])
async def test_any_form_of_the_tag_counts(client: Client, form: str) -> None:
    tag = (await client.get("/api/v1/things")).headers["etag"]
    for spelled in (tag, tag.removeprefix("W/")):
        reply = await client.get("/api/v1/things", if_none_match=form.format(spelled))
        assert reply.status == 304


async def test_another_answer_has_another_tag(client: Client) -> None:
    tag = (await client.get("/api/v1/things")).headers["etag"]
    await client.post("/api/v1/things")
    reply = await client.get("/api/v1/things", if_none_match=tag)
    assert (reply.status, reply.json()) == (200, {"n": 2})
    assert reply.headers["etag"] != tag


async def test_head_is_conditional_too(client: Client) -> None:
    tag = (await client.get("/api/v1/things")).headers["etag"]
    reply = await client.request("HEAD", "/api/v1/things", if_none_match=tag)
    assert reply.status == 304


async def test_only_a_200_to_a_get_has_a_tag(client: Client) -> None:
    for reply in (
        await client.post("/api/v1/things"),
        await client.get("/api/v1/made"),
        await client.get("/api/v1/clock"),
        await client.get("/api/v1/none"),
    ):
        assert "etag" not in reply.headers
