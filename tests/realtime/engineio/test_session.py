"""What a session promises its handler, on either transport. In memory, on the virtual clock."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from cookcam.realtime.engineio import EngineServer, Session, State
from tests.realtime.engineio.client import PATH, WEBSOCKET, Recorder, connected, open_polling, poll
from tests.support.asgi import Closed, websocket


@pytest.fixture
def handler() -> Recorder:
    return Recorder()


async def test_session_ends_with_its_websocket(handler, autojump_clock):
    async with EngineServer(handler) as server:
        async with connected(server) as client:
            await client.send("4one", b"two")
            await client.disconnect()
            await client.over.wait()
        assert await handler.session.closed() == "transport close"
        assert handler.received == ["one", b"two"]
        assert not server.sessions


async def test_a_session_ends_when_the_server_of_its_websocket_cancels(handler, autojump_clock):
    async with EngineServer(handler) as server:
        async with connected(server):
            pass
        assert await handler.session.closed() == "transport close"
        assert not server.sessions


async def test_close_delivers_what_is_queued_and_then_the_code(handler, autojump_clock):
    async with EngineServer(handler) as server, connected(server) as client:
        handler.session.send("last words")
        handler.session.close("expired", 4401)
        assert not handler.session.send("too late")
        assert await client.receive() == "4last words"
        with pytest.raises(Closed) as closed:
            await client.receive()
        assert (closed.value.code, closed.value.reason) == (4401, "expired")
        assert await handler.session.closed() == "expired"
        assert handler.session.clean


async def test_peer_that_does_not_respond_to_the_close_is_dropped(handler, autojump_clock):
    async with EngineServer(handler, close_timeout=5) as server, connected(server) as client:
        begin = trio.current_time()
        handler.session.close()
        await client.over.wait()
        assert trio.current_time() - begin == 5
        assert not handler.session.clean


async def test_abort_drops_what_is_queued(handler, autojump_clock):
    async with EngineServer(handler) as server, connected(server) as client:
        handler.session.send("dropped")
        handler.session.abort("enough", 4000)
        assert handler.session.state is State.CLOSED
        assert await client.close_code() == 4000
        assert not server.sessions


async def test_a_handler_that_returns_ends_its_session(autojump_clock):
    async def hello(session: Session) -> None:
        session.send("hello")

    async with EngineServer(hello) as server, connected(server) as client:
        assert await client.receive() == "4hello"
        assert await client.close_code() == 1000


async def test_a_handler_that_fails_ends_its_own_session_only(caplog, autojump_clock):
    async def fail(session: Session) -> None:
        async for data in session:
            if data == "fail":
                raise ValueError("no such thing")
            session.send(data)

    async with (
        EngineServer(fail) as server,
        connected(server) as other,
        connected(server) as client,
    ):
        await client.send("4fail")
        assert await client.close_code() == 1011
        await other.send("4still there")
        assert await other.receive() == "4still there"
    assert "no such thing" in caplog.text


async def test_a_handler_may_linger_only_so_long_after_the_end(autojump_clock):
    stopped = trio.Event()

    async def stubborn(session: Session) -> None:
        try:
            await trio.sleep_forever()
        finally:
            stopped.set()

    async with EngineServer(stubborn, linger=3) as server, connected(server) as client:
        begin = trio.current_time()
        await client.disconnect()
        await stopped.wait()
        assert trio.current_time() - begin == 3


async def test_leaving_the_server_ends_everything(handler, autojump_clock):
    codes: list[int] = []

    async def client(server: EngineServer) -> None:
        async with connected(server) as conversation:
            codes.append(await conversation.close_code())

    async with trio.open_nursery() as nursery:
        async with EngineServer(handler) as server:
            sid = await open_polling(server)
            nursery.start_soon(client, server)
            nursery.start_soon(poll, server, sid)
            await trio.testing.wait_all_tasks_blocked()
            assert len(server.sessions) == 2
        assert not server.sessions
    assert codes == [1001]
    assert [session.reason for session in handler.sessions] == ["server shutting down"] * 2


async def test_without_pongs_a_websocket_session_ends(handler, autojump_clock):
    async with EngineServer(handler) as server, connected(server) as client:
        begin = trio.current_time()
        assert await client.receive() == "2"
        assert trio.current_time() - begin == 25
        await client.close_code()
        assert trio.current_time() - begin == 45
        assert handler.session.reason == "ping timeout"


async def test_without_pongs_a_polling_session_ends(handler, autojump_clock):
    async with EngineServer(handler) as server:
        sid = await open_polling(server)
        begin = trio.current_time()
        assert (await poll(server, sid)).text == "2"
        assert (await poll(server, sid)).text == "1"
        assert trio.current_time() - begin == 45
        assert (await poll(server, sid)).status == 400
        assert handler.session.reason == "ping timeout"


async def test_the_handler_knows_the_request_that_opened_the_session(handler, autojump_clock):
    headers = [(b"Authorization", b"Bearer x"), (b"accept", b"a"), (b"accept", b"b")]
    async with (
        EngineServer(handler) as server,
        websocket(server, PATH, f"{WEBSOCKET}&device=phone", headers),
    ):
        await trio.testing.wait_all_tasks_blocked()
        request = handler.session.request
        assert request.header("authorization") == "Bearer x"
        assert request.header("Accept") == "a"
        assert request.header("cookie") is None
        assert request.query["device"] == "phone"
        assert request.client == ("192.0.2.1", 50000)
        assert request.path == PATH
        assert request.scope["type"] == "websocket"


async def test_a_client_may_not_ping(handler, autojump_clock):
    async with EngineServer(handler) as server, connected(server) as client:
        await client.send("2")
        assert await client.close_code() == 1002
        assert handler.session.reason == "parse error"


async def test_a_handler_that_is_behind_stops_the_reading(autojump_clock):
    async def asleep(session: Session) -> None:
        await trio.sleep_forever()

    async with EngineServer(asleep) as server, connected(server) as client:
        sent = 0
        with trio.move_on_after(1):
            while True:
                await client.send(f"4{sent}")
                sent += 1
        assert sent < 50
