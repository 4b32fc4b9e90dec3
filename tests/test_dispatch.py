"""Which part serves a connection."""

from __future__ import annotations

import json

import trio

from tests.identity.project import open_project
from tests.support.whole_server import environment, whole_server

UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def test_a_websocket_to_an_unknown_path_is_the_404_of_http(database_url: str) -> None:
    async with (
        open_project(database_url) as gotrue,
        whole_server(environment(database_url, gotrue)) as server,
    ):
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        await stream.send_all(UPGRADE.format(path="/api/v1/nowhere").encode())
        received = b""
        with trio.fail_after(5):
            while data := await stream.receive_some():
                received += bytes(data)
        await stream.aclose()
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404")
    error = json.loads(body)
    assert (error["code"], error["message"]) == ("NOT_FOUND", "Cannot GET /api/v1/nowhere")
