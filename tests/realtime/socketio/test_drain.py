"""Shutdown of a server: every client gets the notice, and no received event is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
import trio.testing

from cookcam.realtime.engineio import CloseCounts
from cookcam.realtime.engineio.packets import MESSAGE, Packet
from cookcam.realtime.socketio import Socket, SocketServer
from tests.realtime.socketio.client import PATH, Client, connected, opened
from tests.support.asgi import Closed, RequestRejected, request


def notice(socket: Socket) -> tuple[Any, ...]:
    return "server_shutdown", {"message": "Server is shutting down for maintenance"}


async def frames_to_the_end(client: Client) -> tuple[list[str], int]:
    frames: list[str] = []
    while True:
        try:
            frames.append(str(await client.receive()))
        except Closed as closed:
            return frames, closed.code


async def test_all_clients_get_the_notice_and_a_clean_goodbye(autojump_clock):
    server = SocketServer()
    ends: list[tuple[list[str], int]] = []

    async def client() -> None:
        async with connected(server) as one:
            ends.append(await frames_to_the_end(one))

    async with server, trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(client)
        await trio.testing.wait_all_tasks_blocked()
        begin = trio.current_time()
        assert await server.shutdown(notice, timeout=30) == CloseCounts(clean=20, cut=0)
        assert trio.current_time() - begin < 1
        assert not server.engine.sessions
    announcement = '42["server_shutdown",{"message":"Server is shutting down for maintenance"}]'
    assert ends == [([announcement, "41"], 1001)] * 20


async def test_without_goodbye_only_the_transport_is_closed(autojump_clock):
    server = SocketServer()
    async with server, connected(server) as client, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: server.close_all(timeout=5, goodbye=False))
        assert await frames_to_the_end(client) == ([], 1001)


async def test_long_polls_get_a_response_at_shutdown(autojump_clock):
    server = SocketServer()
    polling = "EIO=4&transport=polling"
    async with server:
        opening = await request(server, "GET", PATH, polling)
        session = f"{polling}&sid={json.loads(opening.text[1:])['sid']}"
        await request(server, "POST", PATH, session, b"40")
        assert (await request(server, "GET", PATH, session)).text.startswith("40{")
        async with trio.open_nursery() as nursery:
            goodbyes: list[CloseCounts] = []

            async def shutdown() -> None:
                await trio.sleep(1)
                goodbyes.append(await server.shutdown(notice, timeout=30))

            nursery.start_soon(shutdown)
            received: list[str] = []
            while "1" not in received:
                received += (await request(server, "GET", PATH, session)).text.split("\x1e")
        announcement, *rest = received
        assert announcement.startswith('42["server_shutdown"')
        assert rest == ["41", "1"]
        assert goodbyes == [CloseCounts(clean=1, cut=0)]


async def test_received_events_are_handled_and_acknowledged_before_the_goodbye(autojump_clock):
    server = SocketServer()
    reasons: list[str] = []

    @server.main.on("work")
    async def work(socket: Socket, seconds: float) -> str:
        await trio.sleep(seconds)
        return "done"

    @server.main.on_disconnect
    async def disconnect(socket: Socket, reason: str) -> None:
        reasons.append(reason)

    async with server, connected(server) as client, trio.open_nursery() as nursery:
        await client.send('421["work",3]', '422["work",3]')
        await trio.testing.wait_all_tasks_blocked()
        begin = trio.current_time()

        async def close() -> None:
            assert await server.close_all(timeout=30) == CloseCounts(clean=1, cut=0)
            assert trio.current_time() - begin == 6

        nursery.start_soon(close)
        await trio.testing.wait_all_tasks_blocked()
        await client.send('423["work",3]')  # too late: not begun
        assert await frames_to_the_end(client) == (['431["done"]', '432["done"]', "41"], 1001)
    assert reasons == ["server shutting down"]


async def test_just_received_events_are_handled_before_the_goodbye(autojump_clock):
    """A POST was answered, and nothing has looked at what it brought."""
    server = SocketServer()

    @server.main.on("work")
    async def work(socket: Socket) -> str:
        return "done"

    async with server, connected(server) as client, trio.open_nursery() as nursery:
        ends: list[tuple[list[str], int]] = []

        async def read() -> None:
            ends.append(await frames_to_the_end(client))

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        [session] = server.engine.sessions
        for number in (1, 2):
            await session.receive(Packet(MESSAGE, f'2{number}["work"]'))
        assert await server.close_all(timeout=30) == CloseCounts(clean=1, cut=0)
    assert ends == [(['431["done"]', '432["done"]', "41"], 1001)]


async def test_endless_handler_is_cancelled_at_its_time_limit(autojump_clock):
    server = SocketServer()

    @server.main.on("work")
    async def work(socket: Socket) -> None:
        await trio.sleep_forever()

    async with server, connected(server) as stuck, connected(server) as free:
        await stuck.send('42["work"]')
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(frames_to_the_end, free)
            begin = trio.current_time()
            goodbyes = await server.close_all(timeout=5)
            assert trio.current_time() - begin == 5
            assert goodbyes == CloseCounts(clean=1, cut=1)
        assert await frames_to_the_end(stuck) == ([], 1001)


async def test_clients_that_do_not_respond_are_cut_and_counted(autojump_clock):
    server = SocketServer(close_timeout=60)
    async with server, connected(server), opened(server), connected(server) as polite:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(frames_to_the_end, polite)
            assert await server.close_all(timeout=3) == CloseCounts(clean=1, cut=2)
        assert not server.engine.sessions


async def test_client_that_disconnects_during_the_drain_is_not_cut(autojump_clock):
    server = SocketServer()

    @server.main.on("work")
    async def work(socket: Socket) -> None:
        await trio.sleep(2)

    async with server, connected(server) as client, trio.open_nursery() as nursery:
        await client.send('42["work"]')
        await trio.testing.wait_all_tasks_blocked()

        async def leave() -> None:
            await trio.sleep(1)
            await client.leave()

        nursery.start_soon(leave)
        assert await server.close_all(timeout=30) == CloseCounts(clean=1, cut=0)


async def test_many_are_closed_in_batches(autojump_clock):
    server = SocketServer()
    ended: list[float] = []

    async def client() -> None:
        async with connected(server) as one:
            await frames_to_the_end(one)
            ended.append(trio.current_time())

    async with server, trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(client)
        await trio.testing.wait_all_tasks_blocked()
        assert await server.close_all(timeout=30, batch_size=4) == CloseCounts(clean=10)
    assert sorted(ended.count(at) for at in set(ended)) == [2, 4, 4]


async def test_handshakes_are_rejected_after_the_notice(autojump_clock):
    server = SocketServer()
    async with server:
        await server.shutdown(notice, timeout=5)
        with pytest.raises(RequestRejected) as rejected:
            async with opened(server):
                pass
        assert rejected.value.response.status == 503


async def test_notices_may_differ(autojump_clock):
    server = SocketServer()
    async with server, connected(server) as one, connected(server) as two:
        waits = iter([1000, 2000])
        assert server.notify(lambda socket: ("bye", next(waits))) == 2
        assert await one.receive() == '42["bye",1000]'
        assert await two.receive() == '42["bye",2000]'
