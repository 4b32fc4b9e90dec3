from __future__ import annotations

import pytest
import trio
import trio.testing

from cookcam.realtime.engineio import EngineServer
from tests.realtime.engineio.client import (
    PATH,
    WEBSOCKET,
    Recorder,
    connected,
    open_polling,
    poll,
    post,
)
from tests.support.asgi import Answer, websocket


@pytest.fixture
def handler() -> Recorder:
    return Recorder()


def upgrading(server: EngineServer, sid: str):
    return websocket(server, PATH, f"{WEBSOCKET}&sid={sid}")


@pytest.mark.parametrize("frame", ["4" + "x" * 10, "4" + "é" * 5, b"x" * 11])
async def test_a_message_over_the_limit_closes_with_1009(handler, frame, autojump_clock):
    async with EngineServer(handler, max_payload=10) as server, connected(server) as client:
        await client.send(frame)
        assert await client.close_code() == 1009
        assert handler.received == []


@pytest.mark.parametrize("frame", ["4" + "x" * 9, "4" + "é" * 4, b"x" * 10])
async def test_a_message_at_the_limit_passes(handler, frame, autojump_clock):
    async with EngineServer(handler, max_payload=10) as server, connected(server) as client:
        await client.send(frame)
        await trio.testing.wait_all_tasks_blocked()
        assert len(handler.received) == 1


async def test_an_upgrade_ends_the_waiting_poll_and_takes_the_rest_along(handler, autojump_clock):
    async with EngineServer(handler) as server, trio.open_nursery() as nursery:
        sid = await open_polling(server)
        polled: list[Answer] = []

        async def waiting() -> None:
            polled.append(await poll(server, sid))

        nursery.start_soon(waiting)
        await trio.testing.wait_all_tasks_blocked()
        async with upgrading(server, sid) as client:
            await client.send("2probe")
            assert await client.receive() == "3probe"
            await trio.testing.wait_all_tasks_blocked()
            assert [response.text for response in polled] == ["6"]
            handler.session.send("meanwhile")
            await client.send("5")
            assert await client.receive() == "4meanwhile"
            assert handler.session.transport == "websocket"
            assert (await post(server, sid, "4x")).json() == {"code": 3, "message": "Bad request"}


async def test_a_message_is_polled_at_once_during_an_upgrade_and_an_empty_poll_waits(
    handler, autojump_clock
):
    async with EngineServer(handler) as server, trio.open_nursery() as nursery:
        sid = await open_polling(server)
        async with upgrading(server, sid) as client:
            await client.send("2probe")
            assert await client.receive() == "3probe"
            begun = trio.current_time()
            handler.session.send("queued before the poll")
            assert (await poll(server, sid)).text == "4queued before the poll"
            assert trio.current_time() == begun

            async def send_later() -> None:
                await trio.sleep(0.03)
                handler.session.send("queued during the poll")

            nursery.start_soon(send_later)
            assert (await poll(server, sid)).text == "4queued during the poll"
            assert trio.current_time() - begun == pytest.approx(0.03)
            assert (await poll(server, sid)).text == "6"
            assert trio.current_time() - begun == pytest.approx(0.13)


async def test_a_poll_beside_the_end_of_an_upgrade_is_a_bad_request(handler, autojump_clock):
    async with EngineServer(handler) as server, trio.open_nursery() as nursery:
        sid = await open_polling(server)
        async with upgrading(server, sid) as client:
            await client.send("2probe")
            assert await client.receive() == "3probe"
            polled: list[Answer] = []

            async def poll_once() -> None:
                polled.append(await poll(server, sid))

            nursery.start_soon(poll_once)
            await trio.testing.wait_all_tasks_blocked()
            await client.send("5")
            await trio.testing.wait_all_tasks_blocked()
            assert [response.status for response in polled] == [400]


async def test_base64_text_is_accepted_and_b64_requests_it(handler, autojump_clock):
    async with EngineServer(handler) as server:
        async with connected(server) as client:
            await client.send("bAQID")
            await trio.testing.wait_all_tasks_blocked()
            assert handler.received == [b"\1\2\3"]
            handler.session.send(b"\1\2\3")
            assert await client.receive() == b"\1\2\3"
            await client.send("b!")
            assert await client.close_code() == 1002
        async with websocket(server, PATH, f"{WEBSOCKET}&b64=1") as client:
            assert str(await client.receive()).startswith("0")
            handler.session.send(b"\1\2\3")
            assert await client.receive() == "bAQID"
            handler.session.send("text")
            assert await client.receive() == "4text"


async def test_b64_of_an_upgrade_holds_for_the_websocket(handler, autojump_clock):
    async with EngineServer(handler) as server:
        sid = await open_polling(server)
        async with websocket(server, PATH, f"{WEBSOCKET}&sid={sid}&b64=1") as client:
            await client.send("2probe")
            assert await client.receive() == "3probe"
            await client.send("5")
            await trio.testing.wait_all_tasks_blocked()
            handler.session.send(b"\1\2\3")
            assert await client.receive() == "bAQID"


async def test_polling_goes_on_while_a_probe_is_awaited(handler, autojump_clock):
    async with EngineServer(handler) as server:
        sid = await open_polling(server)
        async with upgrading(server, sid):
            await trio.testing.wait_all_tasks_blocked()
            handler.session.send("by poll")
            assert (await poll(server, sid)).text == "4by poll"


@pytest.mark.parametrize("frames", [["4hello"], ["2"], ["2probe", "4hello"], [b"2probe"]])
async def test_failed_probe_leaves_the_session_on_polling(handler, frames, autojump_clock):
    async with EngineServer(handler) as server:
        sid = await open_polling(server)
        async with upgrading(server, sid) as client:
            await client.send(*frames)
            assert await client.close_code() == 1002
        assert handler.session.transport == "polling"
        handler.session.send("still here")
        assert (await poll(server, sid)).text == "4still here"


async def test_aborted_probe_leaves_the_session_on_polling(handler, autojump_clock):
    async with EngineServer(handler) as server:
        sid = await open_polling(server)
        async with upgrading(server, sid) as client:
            await client.send("2probe")
            assert await client.receive() == "3probe"
            await client.disconnect()
            await client.over.wait()
        async with upgrading(server, sid) as client:
            await client.send("2probe")
            assert await client.receive() == "3probe"
            await client.send("5")
            await client.send("4second try")
            await trio.testing.wait_all_tasks_blocked()
        assert handler.received == ["second try"]


async def test_a_probe_has_its_time(handler, autojump_clock):
    async with EngineServer(handler, upgrade_timeout=10) as server:
        sid = await open_polling(server)
        async with upgrading(server, sid) as client:
            begin = trio.current_time()
            await client.close_code()
            assert trio.current_time() - begin == 10
        assert handler.session.reason is None


async def test_a_probe_ends_with_its_session(handler, autojump_clock):
    async with EngineServer(handler, close_timeout=1) as server:
        sid = await open_polling(server)
        async with upgrading(server, sid) as client:
            await client.send("2probe")
            assert await client.receive() == "3probe"
            handler.session.abort("enough")
            begin = trio.current_time()
            await client.close_code()
            assert trio.current_time() - begin <= 1


async def test_session_closed_during_an_upgrade_sends_the_rest_after_it(handler, autojump_clock):
    async with EngineServer(handler) as server:
        sid = await open_polling(server)
        async with upgrading(server, sid) as client:
            await client.send("2probe")
            assert await client.receive() == "3probe"
            handler.session.send("rest")
            handler.session.close("forced close", 4000)
            await client.send("5")
            assert await client.receive() == "4rest"
            assert await client.close_code() == 4000
        assert await handler.session.closed() == "forced close"
        assert handler.session.clean


async def test_a_second_connection_of_a_session_is_closed(handler, autojump_clock):
    async with EngineServer(handler) as server:
        sid = await open_polling(server)
        async with upgrading(server, sid), upgrading(server, sid) as second:
            assert await second.close_code() == 1000


async def test_without_upgrades_none_is_offered_or_taken(handler, autojump_clock):
    async with EngineServer(handler, allow_upgrades=False) as server:
        sid = await open_polling(server)
        async with upgrading(server, sid) as client:
            assert await client.close_code() == 1000
