"""One task watches the deadlines of all connections; requests without a body run in the task of
their connection."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from attrs import define, field

from cookcam.serving.deadlines import MAX_REMOVED, Deadlines
from tests.support.serving import our_server

GET = b"GET /%d HTTP/1.1\r\nHost: test\r\n\r\n"


@define(eq=False)
class FakeConnection:
    deadlines: Deadlines
    until: float = math.inf
    checked: list[float] = field(factory=list[float])

    def check_deadline(self, now: float) -> None:
        self.checked.append(now)
        if self.until > now:
            self.deadlines.add(self.until, self)


@pytest.fixture
async def deadlines(autojump_clock: Any, nursery: trio.Nursery) -> Deadlines:
    deadlines = Deadlines()
    nursery.start_soon(deadlines.run)
    return deadlines


async def test_connections_are_checked_at_their_time_in_order(
    autojump_clock: Any, deadlines: Deadlines
) -> None:
    began = trio.current_time()
    connections = [FakeConnection(deadlines, until=-math.inf) for _ in range(3)]
    for seconds, connection in zip((30, 10, 20), connections, strict=True):
        deadlines.add(began + seconds, connection)
        await trio.sleep(1)
    await trio.sleep(60)
    assert [connection.checked for connection in connections] == [
        [began + 30],
        [began + 10],
        [began + 20],
    ]


async def test_later_deadline_is_checked_again(autojump_clock: Any, deadlines: Deadlines) -> None:
    began = trio.current_time()
    connection = FakeConnection(deadlines, until=began + 75)
    deadlines.add(began + 15, connection)
    await trio.sleep(100)
    assert connection.checked == [began + 15, began + 75]


async def test_removed_entries_are_not_checked_and_not_kept(
    autojump_clock: Any, deadlines: Deadlines
) -> None:
    connection = FakeConnection(deadlines)
    kept = FakeConnection(deadlines, until=-math.inf)
    deadlines.add(trio.current_time() + 70, kept)
    for _ in range(10 * MAX_REMOVED):
        entry = deadlines.add(trio.current_time() + 75, connection)
        deadlines.remove(entry)
        deadlines.remove(entry)
    assert len(deadlines._queue) <= 2 * MAX_REMOVED + 2
    await trio.sleep(100)
    assert connection.checked == []
    assert len(kept.checked) == 1


@asynccontextmanager
async def connected(app: Any) -> AsyncIterator[trio.SocketStream]:
    with trio.fail_after(10):
        async with (
            our_server(app) as (port, _),
            await trio.open_tcp_stream("127.0.0.1", port) as stream,
        ):
            yield stream


async def respond(send: Any, body: bytes) -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def receive_until(stream: trio.SocketStream, end: bytes) -> bytes:
    received = b""
    while not received.endswith(end):
        data = bytes(await stream.receive_some())
        assert data, received
        received += data
    return received


async def test_request_without_a_body_has_no_task_of_its_own() -> None:
    names: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        names.append(trio.lowlevel.current_task().name)
        assert (await receive()) == {"type": "http.request", "body": b"", "more_body": False}
        await respond(send, b"done")

    async with connected(app) as stream:
        await stream.send_all(GET % 1)
        await receive_until(stream, b"done")
        assert names == ["connection"]


@pytest.mark.parametrize("delays", [(0.0, 0.0, 0.0), (0.2, 0.0, 0.2), (0.0, 0.3, 0.0)])
async def test_requests_behind_one_that_lasts_are_served_in_order(
    delays: tuple[float, float, float],
) -> None:
    """All at once, and while the first one is watched."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        number = int(scope["path"][1:])
        await trio.sleep(delays[number])
        await respond(send, b"done %d" % number)

    for pause in (0.0, 0.1):
        async with connected(app) as stream:
            for number in range(3):
                await stream.send_all(GET % number)
                await trio.sleep(pause)
            received = await receive_until(stream, b"done 2")
            positions = [received.index(b"done %d" % number) for number in range(3)]
            assert positions == sorted(positions)


async def test_lasting_request_is_cancelled_when_its_client_leaves() -> None:
    begun, cancelled = trio.Event(), trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled.set()
            raise

    async with connected(app) as stream:
        await stream.send_all(GET % 1)
        await begun.wait()
        await stream.aclose()
        await cancelled.wait()


async def test_client_that_half_closes_gets_the_response_to_a_short_request() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, b"done")

    async with connected(app) as stream:
        await stream.send_all(GET % 1)
        await stream.send_eof()
        await receive_until(stream, b"done")
        assert await stream.receive_some() == b""
