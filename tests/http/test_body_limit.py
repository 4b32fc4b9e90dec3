from __future__ import annotations

from typing import Any

import pytest
import trio
from quart import request

from cookcam.errors import BadRequest, PayloadTooLarge
from cookcam.http import MEBIBYTE, Routes, max_body
from cookcam.http.requests import limited_receive


async def never() -> Any:
    raise AssertionError("the body was read")


async def test_a_declared_length_is_rejected_before_anything_is_read() -> None:
    for declared in (b"%d" % (MEBIBYTE + 1), b"9" * 5000):
        with pytest.raises(PayloadTooLarge):
            limited_receive(never, MEBIBYTE, {b"content-length": declared}, "1.1")
    with pytest.raises(BadRequest):
        limited_receive(never, MEBIBYTE, {b"content-length": b"-1"}, "1.1")
    assert limited_receive(never, MEBIBYTE, {}, "1.1") is never


async def test_leading_zeros_do_not_make_a_length_too_large() -> None:
    for declared in (b"0" * 20 + b"5", b"0" * 5000):
        assert limited_receive(never, MEBIBYTE, {b"content-length": declared}, "1.1") is not never


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ({b"transfer-encoding": b"chunked"}, "1.1"),
        ({b"transfer-encoding": b"chunked", b"content-length": b"5"}, "1.1"),
        ({b"content-length": b"5"}, "1.1"),
        ({b"content-length": b"5"}, "2"),
        ({}, "2"),
    ],
)
async def test_bytes_are_counted_whatever_was_declared(headers: Any, version: str) -> None:
    async def receive() -> Any:
        return {"type": "http.request", "body": b"x" * (MEBIBYTE // 2), "more_body": True}

    counting = limited_receive(receive, MEBIBYTE, headers, version)
    await counting()
    await counting()
    with pytest.raises(PayloadTooLarge):
        await counting()


def reading_routes() -> Routes:
    bp = Routes("reading", __name__, legacy=True)

    @bp.post("/recipes")
    async def read() -> Any:
        return {"size": len(await request.get_data())}

    @bp.post("/scan/analyze")
    @max_body(15 * MEBIBYTE)
    async def read_photo() -> Any:
        return {"size": len(await request.get_data())}

    @bp.post("/streamed")
    async def streamed() -> Any:
        return {"parts": [len(part) async for part in request.body]}

    @bp.post("/ignored")
    async def ignored() -> Any:
        return {"ignored": True}

    return bp


@pytest.fixture(params=["our server", "another server"])
def site(request: pytest.FixtureRequest, make_site: Any) -> Any:
    site = make_site(reading_routes())
    if request.param == "another server":
        site.extensions = {}
    return site


@pytest.mark.parametrize("path", ["/api/v1/recipes", "/API/v1/Recipes/", "/api/recipes"])
async def test_one_mebibyte_is_read_and_a_byte_more_is_not(site: Any, path: str) -> None:
    client = site.client()
    assert (await client.post(path, body=b"x" * MEBIBYTE)).json() == {"size": MEBIBYTE}
    assert (await client.post(path, body=b"x" * (MEBIBYTE + 1))).status == 413
    assert (await client.post(path, parts=[b"x" * MEBIBYTE, b"x"])).status == 413


async def test_a_scan_may_carry_a_photograph(site: Any) -> None:
    client = site.client()
    photo = [b"x" * (5 * MEBIBYTE)] * 3
    assert (await client.post("/api/v1/scan/analyze", parts=photo)).status == 200
    assert (await client.post("/api/v1/scan/analyze", parts=[*photo, b"x"])).status == 413


async def test_a_body_can_be_read_in_parts(make_site: Any) -> None:
    client = make_site(reading_routes()).client()
    reply = await client.post("/api/v1/streamed", parts=[b"ab", b"", b"cde", b""])
    assert reply.json() == {"parts": [2, 3]}


async def test_body_that_the_handler_does_not_read_is_no_error(site: Any) -> None:
    assert (await site.client().post("/api/v1/ignored", body=b"x" * 1000)).status == 200


async def test_a_client_that_leaves_while_sending_is_no_failure(
    make_site: Any, logged: Any
) -> None:
    """Under our own server the handler reads; it learns of the leaving by the message."""
    site = make_site(reading_routes())
    disconnected = trio.Event()
    disconnected.set()

    async def half_sent(scope: Any, receive: Any, send: Any) -> None:
        async def disconnected_receive() -> Any:
            return {"type": "http.disconnect"}

        await site.edge(scope, disconnected_receive, send)

    client = site.client()
    client = type(client)(half_sent, extensions=site.extensions)
    reply = await client.post("/api/v1/recipes", body=b"x" * 100)
    assert reply.status == 0
    assert site.reports.captured == []
    [line] = logged.of("request")
    assert line["statusCode"] == 499


async def test_under_another_server_leaving_cancels_the_handler(
    make_site: Any, autojump_clock: Any
) -> None:
    bp = Routes("slow", __name__)
    ended = trio.Event()

    @bp.get("/slow")
    async def slow() -> Any:
        try:
            await trio.sleep(20)
        finally:
            ended.set()

    site = make_site(bp)
    site.extensions = {}
    disconnected = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: site.client().get("/api/v1/slow", disconnected=disconnected))
        await trio.sleep(1)
        disconnected.set()
        with trio.fail_after(1):
            await ended.wait()
    assert site.reports.captured == []
