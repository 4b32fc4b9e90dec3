"""Connection-state recovery, as clients of Socket.IO 4.6 and later ask for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
import trio.testing

from cookcam.realtime.socketio import ConnectionRejected, RecoveryOptions, Socket, SocketServer
from tests.realtime.socketio.client import Client, opened


def server_of(**options: Any) -> SocketServer:
    server = SocketServer(recovery=RecoveryOptions(**options))

    @server.main.on_connect
    async def connect(socket: Socket, auth: dict[str, Any]) -> None:
        assert "pid" not in auth
        assert "offset" not in auth
        await trio.sleep(auth.get("think", 0))
        if auth.get("refuse"):
            raise ConnectionRejected
        if not socket.recovered:
            socket.join("kitchen")
            socket.data["name"] = "Ann"

    return server


async def event(client: Client) -> list[Any]:
    return json.loads(str(await client.receive())[2:])


async def drop(server: SocketServer, client: Client) -> None:
    await client.leave()
    await trio.testing.wait_all_tasks_blocked()


async def test_recovered_client_gets_its_state_and_missed_events(autojump_clock):
    server = server_of()
    async with server:
        async with opened(server) as client:
            ids = await client.connect()
            assert set(ids) == {"sid", "pid"}
            server.main.emit("first")
            name, offset = await event(client)
            assert name == "first"
            await drop(server, client)
        server.main.emit("to all", b"bytes")
        server.main.emit("to the kitchen", to="kitchen")
        server.main.emit("to it", to=ids["sid"])
        server.main.emit("elsewhere", to="cellar")
        server.main.emit("but not to it", skip="kitchen")
        server.main.emit("volatile", volatile=True)
        async with opened(server) as client:
            assert await client.connect(pid=ids["pid"], offset=offset) == ids
            assert str(await client.receive()).startswith('451-["to all"')
            assert await client.receive() == b"bytes"
            assert (await event(client))[0] == "to the kitchen"
            assert (await event(client))[0] == "to it"
            (socket,) = server.sockets
            assert socket.recovered
            assert socket.data == {"name": "Ann"}
            assert server.main.members("kitchen") == (socket,)
            socket.emit("live")
            assert (await event(client))[0] == "live"


async def test_what_is_sent_while_the_handler_decides_comes_once(autojump_clock):
    server = server_of()
    async with server:
        async with opened(server) as client:
            ids = await client.connect()
            server.main.emit("first")
            _, offset = await event(client)
            await drop(server, client)
        server.main.emit("missed")
        async with opened(server) as client:
            returning = json.dumps({"pid": ids["pid"], "offset": offset, "think": 1})
            await client.send(f"40{returning}")
            await trio.testing.wait_all_tasks_blocked()
            server.main.emit("to all")
            server.main.emit("to the kitchen", to="kitchen")
            assert str(await client.receive()).startswith("40{")
            names = [(await event(client))[0] for _ in range(3)]
            assert names == ["missed", "to all", "to the kitchen"]
            server.main.emit("live")
            assert (await event(client))[0] == "live"


async def test_offsets_are_on_events_only_and_not_on_those_that_cannot_be_recovered(
    autojump_clock,
):
    server = server_of()

    @server.main.on("ask")
    async def ask(socket: Socket) -> int:
        return 1

    async with server, opened(server) as client:
        await client.connect()
        (socket,) = server.sockets
        socket.emit("kept", 1)
        socket.emit("volatile", 1, volatile=True)
        socket.start_soon(lambda: socket.call("call", 1, timeout=1))
        await client.send('427["ask"]')
        assert len(await event(client)) == 3
        assert await client.receive() == '42["volatile",1]'
        assert {await client.receive(), await client.receive()} == {'420["call",1]', "437[1]"}


async def returns_as(
    server: SocketServer, away: float, how: dict[str, Any] | None = None, reason: str = "drop"
) -> bool:
    """Whether a client that was away for so many seconds is the same as before."""
    async with opened(server) as client:
        ids = await client.connect()
        server.main.emit("first")
        _, offset = await event(client)
        if reason == "leave":
            await client.send("41")
        await drop(server, client)
    await trio.sleep(away)
    async with opened(server) as client:
        auth = {"pid": ids["pid"], "offset": offset, **(how or {})}
        return await client.connect(**auth) == ids


async def test_a_return_is_possible_only_for_so_long(autojump_clock):
    server = server_of(max_disconnection_duration=60)
    async with server:
        assert await returns_as(server, 59)
        assert not await returns_as(server, 61)


@pytest.mark.parametrize(
    "how",
    [
        {"pid": "unknown"},
        {"pid": 5},
        {"offset": "unknown"},
        {"offset": "x.0"},
        {"offset": None},
        {"offset": "." * 100},
    ],
)
async def test_invalid_recovery_data_starts_anew(how, autojump_clock):
    server = server_of()
    async with server:
        assert not await returns_as(server, 1, how)


async def test_client_that_disconnected_itself_starts_anew(autojump_clock):
    server = server_of()
    async with server:
        assert not await returns_as(server, 1, reason="leave")


async def test_an_offset_of_too_many_events_ago_starts_anew(autojump_clock):
    server = server_of(max_events=10)
    async with server:
        async with opened(server) as client:
            ids = await client.connect()
            server.main.emit("first")
            _, offset = await event(client)
            await drop(server, client)
        for _ in range(10):
            server.main.emit("more")
        async with opened(server) as client:
            assert await client.connect(pid=ids["pid"], offset=offset) != ids


async def test_client_that_missed_more_than_an_outbox_holds_starts_anew(autojump_clock):
    server = SocketServer(recovery=RecoveryOptions(), outbox_limit=16)
    async with server:
        for missed, recovered in ((15, True), (16, False)):
            async with opened(server) as client:
                ids = await client.connect()
                server.main.emit("first")
                _, offset = await event(client)
                await drop(server, client)
            for _ in range(missed):
                server.main.emit("more")
            async with opened(server) as client:
                same = await client.connect(pid=ids["pid"], offset=offset) == ids
                assert same is recovered


async def dropped(server: SocketServer) -> tuple[dict[str, Any], dict[str, Any]]:
    """The ids of a client that is gone, and what it presents when it returns."""
    async with opened(server) as client:
        ids = await client.connect()
        server.main.emit("first")
        _, offset = await event(client)
        await drop(server, client)
    return ids, {"pid": ids["pid"], "offset": offset}


async def test_client_that_reconnects_before_its_loss_is_noticed_takes_over(autojump_clock):
    server = server_of()
    async with server:
        ids, back = await dropped(server)
        async with opened(server) as one, opened(server) as two:
            assert await one.connect(**back) == ids
            server.main.emit("missed")
            assert await two.connect(**back) == ids
            assert (await event(two))[0] == "missed"
            await one.close_code()
            (socket,) = server.sockets
            assert server.main.members("kitchen") == (socket,)


async def test_socket_lost_again_before_acceptance_can_still_recover(autojump_clock):
    server = server_of()
    async with server:
        ids, back = await dropped(server)
        server.main.emit("missed")
        async with opened(server) as one:
            await one.send(f"40{json.dumps({**back, 'think': 5})}")
            await trio.testing.wait_all_tasks_blocked()
            await drop(server, one)
        async with opened(server) as two:
            assert await two.connect(**back) == ids
            assert (await event(two))[0] == "missed"


async def test_the_history_is_bounded_in_bytes_and_in_sockets(autojump_clock):
    server = server_of(max_bytes=1000, max_absent=1)
    async with server:
        ids, back = await dropped(server)
        for _ in range(10):
            server.main.emit("large", "x" * 200)
        assert server.main.replay is not None
        assert len(server.main.replay._events) == 4
        async with opened(server) as client:
            assert await client.connect(**back) != ids
        ids, back = await dropped(server)
        await dropped(server)
        async with opened(server) as client:
            assert await client.connect(**back) != ids


async def test_on_request_only_requesting_clients_get_offsets(autojump_clock):
    server = server_of(on_request=True)
    async with server, opened(server) as asks, opened(server) as other:
        assert set(await asks.connect(recover=True)) == {"sid", "pid"}
        assert set(await other.connect(recover=False)) == {"sid"}
        server.main.emit("x", 1)
        assert len(await event(asks)) == 3
        assert await event(other) == ["x", 1]
        for socket in server.sockets:
            socket.emit("y")
        assert len(await event(asks)) == 2
        assert await event(other) == ["y"]


async def test_rejected_recovery_leaves_no_state(autojump_clock):
    server = server_of()
    async with server:
        async with opened(server) as client:
            ids = await client.connect()
            server.main.emit("first")
            _, offset = await event(client)
            await drop(server, client)
        async with opened(server) as client:
            rejected = json.dumps({"pid": ids["pid"], "offset": offset, "refuse": True})
            await client.send(f"40{rejected}")
            assert str(await client.receive()).startswith("44")
            assert not server.main.members("kitchen")


async def test_without_recovery_there_is_no_private_id_and_no_offset(autojump_clock):
    server = SocketServer()
    async with server, opened(server) as client:
        assert set(await client.connect(pid="x", offset="y")) == {"sid"}
        server.main.emit("plain")
        assert await client.receive() == '42["plain"]'
