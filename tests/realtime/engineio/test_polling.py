from __future__ import annotations

import pytest
import trio
import trio.testing

from cookcam.realtime.engineio import EngineServer, Session
from tests.realtime.engineio.client import PATH, POLLING, Recorder, open_polling, poll, post
from tests.support.asgi import Answer, request


@pytest.fixture
def handler() -> Recorder:
    return Recorder()


async def test_a_poll_waits_until_there_is_something(handler, autojump_clock):
    async with EngineServer(handler) as server, trio.open_nursery() as nursery:
        sid = await open_polling(server)
        responses: list[Answer] = []

        async def waiting() -> None:
            responses.append(await poll(server, sid))

        nursery.start_soon(waiting)
        await trio.sleep(3)
        assert not responses
        handler.session.send("text")
        handler.session.send(b"\x01\x02\x03\x04")
        await trio.testing.wait_all_tasks_blocked()
        assert responses[0].text == "4text\x1ebAQIDBA=="
        assert responses[0].headers["content-type"] == "text/plain; charset=UTF-8"


async def test_close_packet_has_its_own_response_after_the_rest(handler, autojump_clock):
    async with EngineServer(handler) as server, trio.open_nursery() as nursery:
        sid = await open_polling(server)

        async def waiting() -> None:
            assert (await poll(server, sid)).text == "4rest"
            assert (await poll(server, sid)).text == "1"
            assert (await poll(server, sid)).json()["message"] == "Session ID unknown"

        nursery.start_soon(waiting)
        await trio.testing.wait_all_tasks_blocked()
        handler.session.send("rest")
        handler.session.close()
        await handler.session.closed()
        assert handler.session.clean


async def test_close_waits_for_the_next_poll(handler, autojump_clock):
    async with EngineServer(handler) as server:
        sid = await open_polling(server)
        await trio.testing.wait_all_tasks_blocked()
        handler.session.close()
        await trio.sleep(1)
        assert (await post(server, sid, "4too late")).text == "ok"
        assert (await poll(server, sid)).text == "1"
        assert handler.session.clean
        assert handler.received == []


async def test_a_client_that_closes_at_the_same_time_is_content(handler, autojump_clock):
    async with EngineServer(handler) as server:
        sid = await open_polling(server)
        await trio.testing.wait_all_tasks_blocked()
        handler.session.close()
        assert (await post(server, sid, "1")).text == "ok"
        assert handler.session.clean
        assert not server.sessions


async def test_close_waits_for_a_poll_only_for_the_close_timeout(handler, autojump_clock):
    async with EngineServer(handler, close_timeout=5) as server:
        await open_polling(server)
        await trio.testing.wait_all_tasks_blocked()
        begin = trio.current_time()
        handler.session.close()
        await handler.session.closed()
        assert trio.current_time() - begin == 5
        assert not handler.session.clean
        assert not server.sessions


async def test_disconnect_during_a_poll_ends_the_session(handler, autojump_clock):
    async with EngineServer(handler) as server, trio.open_nursery() as nursery:
        sid = await open_polling(server)
        gone = trio.Event()
        nursery.start_soon(request, server, "GET", PATH, f"{POLLING}&sid={sid}", b"", (), gone)
        await trio.testing.wait_all_tasks_blocked()
        gone.set()
        assert await handler.session.closed() == "transport close"


async def test_a_poll_that_is_cancelled_ends_the_session(handler, autojump_clock):
    async with EngineServer(handler) as server:
        sid = await open_polling(server)
        with trio.move_on_after(1):
            await poll(server, sid)
        assert await handler.session.closed() == "transport close"


async def test_aborted_poll_ends_the_session_even_when_it_is_read_late(handler, autojump_clock):
    async with EngineServer(handler) as server, trio.open_nursery() as nursery:
        sid = await open_polling(server)
        responses: list[Answer] = []

        async def follower() -> None:
            responses.append(await poll(server, sid))

        nursery.start_soon(follower)
        await trio.testing.wait_all_tasks_blocked()
        gone = trio.Event()
        gone.set()
        await request(server, "GET", PATH, f"{POLLING}&sid={sid}", gone=gone)
        await trio.testing.wait_all_tasks_blocked()
        assert [response.status for response in responses] == [400]
        assert not server.sessions


async def test_what_was_posted_before_the_end_is_still_handled(handler, autojump_clock):
    async with EngineServer(handler) as server:
        sid = await open_polling(server)
        assert (await post(server, sid, "4one\x1e4two\x1e1")).text == "ok"
        await trio.testing.wait_all_tasks_blocked()
        assert handler.received == ["one", "two"]
        # Its poll may be on the way beside the POST that said goodbye.
        assert (await poll(server, sid)).text == "6"
        assert (await poll(server, sid)).status == 400


async def test_a_second_post_at_the_same_time_ends_the_session(autojump_clock):
    async def asleep(session: Session) -> None:
        await trio.sleep_forever()

    async with EngineServer(asleep) as server, trio.open_nursery() as nursery:
        sid = await open_polling(server)
        nursery.start_soon(post, server, sid, "\x1e".join(["4x"] * 100))
        await trio.testing.wait_all_tasks_blocked()
        assert (await post(server, sid, "4y")).json() == {"code": 3, "message": "Bad request"}
        assert (await post(server, sid, "4y")).json() == {
            "code": 1,
            "message": "Session ID unknown",
        }


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_the_limit_is_413(handler, declared, autojump_clock):
    async with EngineServer(handler, max_payload=10) as server:
        sid = await open_polling(server)
        headers = [(b"content-length", b"11")] if declared else []
        response = await request(server, "POST", PATH, f"{POLLING}&sid={sid}", b"4" * 11, headers)
        assert response.status == 413
        assert response.headers["connection"] == "close"
        assert (await post(server, sid, "4" * 10)).text == "ok"


async def test_binary_body_is_rejected(handler, autojump_clock):
    async with EngineServer(handler) as server:
        sid = await open_polling(server)
        headers = [(b"content-type", b"application/octet-stream")]
        response = await request(server, "POST", PATH, f"{POLLING}&sid={sid}", b"4x", headers)
        assert response.status == 400
        assert not server.sessions


async def test_disconnect_during_a_post_ends_the_session(handler, autojump_clock):
    async with EngineServer(handler) as server:
        sid = await open_polling(server)
        await trio.testing.wait_all_tasks_blocked()

        async def broken_off():
            return {"type": "http.disconnect"}

        async def ignore(message):
            pass

        scope = {
            "type": "http",
            "method": "POST",
            "path": PATH,
            "query_string": f"{POLLING}&sid={sid}".encode(),
            "headers": [],
        }
        await server(scope, broken_off, ignore)
        assert handler.session.reason == "transport error"
