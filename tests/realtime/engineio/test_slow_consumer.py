"""A client that does not read: bounded memory, a close with the reason, no effect on others."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from cookcam.realtime.engineio import EngineServer, Message, Session
from tests.realtime.engineio.client import Recorder, connected, open_polling, poll
from tests.support.asgi import Closed


async def flood(sessions: list[Session], count: int, *, volatile: bool = False) -> None:
    """The same messages to all, with a moment for those who read."""
    for number in range(count):
        message = Message.of(str(number), volatile=volatile)
        for session in sessions:
            session.send_message(message)
        await trio.testing.wait_all_tasks_blocked()


async def test_a_reader_that_stops_is_closed_and_the_others_get_everything(autojump_clock):
    handler = Recorder()
    async with (
        EngineServer(handler, outbox_limit=256) as server,
        connected(server, reading=False) as slow,
        connected(server) as quick,
    ):
        await flood(list(handler.sessions), 1000)
        stuck, lively = handler.sessions
        assert stuck.reason == "slow consumer"
        assert lively.reason is None
        assert [await quick.receive() for _ in range(1000)] == [f"4{n}" for n in range(1000)]
        # The frame it was stuck in is whole; what waited behind it is gone.
        assert await slow.receive() == "40"
        with pytest.raises(Closed) as closed:
            await slow.receive()
        assert (closed.value.code, closed.value.reason) == (1013, "slow consumer")


async def test_a_reader_that_never_resumes_is_dropped_after_the_close_timeout(autojump_clock):
    handler = Recorder()
    async with (
        EngineServer(handler, outbox_limit=4, close_timeout=5) as server,
        connected(server, reading=False) as slow,
    ):
        begin = trio.current_time()
        await flood(handler.sessions, 10)
        assert not server.sessions
        await slow.over.wait()
        assert trio.current_time() - begin == 5


async def test_volatile_messages_are_dropped_before_the_session_is_closed(autojump_clock):
    handler = Recorder()
    async with (
        EngineServer(handler, outbox_limit=4) as server,
        connected(server, reading=False) as slow,
    ):
        await flood(handler.sessions, 100, volatile=True)
        assert handler.session.send("must arrive")
        assert handler.session.reason is None
        frames = [await slow.receive() for _ in range(5)]
        assert frames == ["40", "497", "498", "499", "4must arrive"]


async def test_a_client_that_stops_polling_is_closed(autojump_clock):
    handler = Recorder()
    async with EngineServer(handler, outbox_limit=16) as server:
        sid = await open_polling(server)
        await trio.testing.wait_all_tasks_blocked()
        await flood(handler.sessions, 17)
        assert handler.session.reason == "slow consumer"
        assert (await poll(server, sid)).status == 400


async def test_heartbeat_also_detects_a_slow_reader(autojump_clock):
    handler = Recorder()
    async with (
        EngineServer(handler) as server,
        connected(server, reading=False) as slow,
    ):
        handler.session.send("never read")
        await slow.over.wait()
        assert handler.session.reason == "ping timeout"
