from __future__ import annotations

import pytest
import trio
import trio.testing

from cookcam.realtime.engineio import CloseCounts, EngineServer
from tests.realtime.engineio.client import Recorder, connected, open_polling, poll
from tests.support.asgi import Answer, Closed


async def test_every_session_gets_the_rest_and_a_goodbye_of_its_transport(autojump_clock):
    handler = Recorder()
    async with (
        EngineServer(handler) as server,
        connected(server) as client,
        trio.open_nursery() as nursery,
    ):
        sid = await open_polling(server)
        polled: list[Answer] = []

        async def waiting() -> None:
            polled.append(await poll(server, sid))
            polled.append(await poll(server, sid))

        async def reading() -> None:
            assert await client.receive() == "4rest"
            with pytest.raises(Closed) as closed:
                await client.receive()
            assert closed.value.code == 1001

        nursery.start_soon(waiting)
        nursery.start_soon(reading)
        await trio.testing.wait_all_tasks_blocked()
        for session in handler.sessions:
            session.send("rest")
        assert await server.close_all(timeout=10) == CloseCounts(clean=2, cut=0)
        assert [response.text for response in polled] == ["4rest", "1"]
        assert not server.sessions
        assert server.draining
        assert {session.reason for session in handler.sessions} == {"server shutting down"}


async def test_session_that_does_not_respond_in_time_is_cut_and_counted(autojump_clock):
    handler = Recorder()
    async with (
        EngineServer(handler, close_timeout=60) as server,
        connected(server),
        connected(server, reading=False),
        connected(server) as polite,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(polite.close_code)
        await open_polling(server)
        begin = trio.current_time()
        assert await server.close_all(timeout=3) == CloseCounts(clean=1, cut=3)
        assert trio.current_time() - begin == 3
        assert not server.sessions


async def test_cut_session_is_not_awaited(autojump_clock):
    """Neither a peer that never answers the close nor one that never takes it."""
    async with (
        EngineServer(Recorder(), close_timeout=60) as server,
        connected(server) as silent,
        connected(server, reading=False) as stuck,
    ):
        begin = trio.current_time()
        await server.close_all(timeout=3)
        await silent.over.wait()
        await stuck.over.wait()
        # Nothing but the moment that the close frame itself may take.
        assert trio.current_time() - begin == pytest.approx(3.2)


async def test_closing_nothing_takes_no_time(autojump_clock):
    async with EngineServer(Recorder()) as server:
        begin = trio.current_time()
        assert await server.close_all(timeout=10) == CloseCounts()
        assert trio.current_time() == begin
