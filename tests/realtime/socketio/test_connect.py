"""Connecting to namespaces and parting from them."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from cookcam.realtime.engineio import Message
from cookcam.realtime.socketio import ConnectionRejected, Socket, SocketServer
from tests.realtime.socketio.client import connected, opened


class Diary:
    """Handlers that note what happens."""

    def __init__(self, server: SocketServer) -> None:
        self.entries: list[str] = []
        server.main.on_connect(self.connect)
        server.main.on_any(self.event)
        server.main.on_disconnect(self.disconnect)

    async def connect(self, socket: Socket, auth: dict[str, Any]) -> None:
        if auth.get("refuse"):
            raise ConnectionRejected("Invalid or expired token", auth["refuse"])
        await trio.sleep(auth.get("think", 0))
        self.entries.append("connect")

    async def event(self, socket: Socket, event: str, args: list[Any]) -> None:
        await trio.sleep(args[0] if args else 0)
        self.entries.append(event)

    async def disconnect(self, socket: Socket, reason: str) -> None:
        self.entries.append(reason)


async def test_rejection_has_message_and_data(autojump_clock):
    server = SocketServer()
    diary = Diary(server)
    async with server, opened(server) as client:
        await client.send('40{"refuse":{"retry":true}}')
        response = '44{"message":"Invalid or expired token","data":{"retry":true}}'
        assert await client.receive() == response
        assert not server.sockets
        await client.connect()
        assert len(server.sockets) == 1
        await client.leave()
    assert diary.entries == ["connect", "transport close"]


async def test_failing_or_slow_connect_handler_rejects_the_client(autojump_clock):
    reports: list[str] = []
    server = SocketServer(
        connect_timeout=45, on_error=lambda socket, event, error: reports.append(repr(error))
    )

    @server.main.on_connect
    async def connect(socket: Socket, auth: dict[str, Any]) -> None:
        await trio.sleep(auth["think"])
        raise KeyError("oops")

    async with server, opened(server) as client:
        begin = trio.current_time()
        await client.send('40{"think":1}')
        assert await client.receive() == '44{"message":"Internal error"}'
        await client.send('40{"think":100}')
        assert await client.receive() == '44{"message":"Internal error"}'
        assert trio.current_time() - begin == 1 + 45
        assert reports == ["KeyError('oops')", "TooSlowError()"]


async def test_what_is_sent_while_connecting_comes_after_the_acceptance(autojump_clock):
    server = SocketServer()

    @server.main.on_connect
    async def connect(socket: Socket, auth: dict[str, Any]) -> None:
        socket.emit("hello")
        socket.join("room")
        assert server.main.emit("to the room", to="room") == 1
        assert server.main.emit("to all") == 0
        assert not socket.connected
        await trio.sleep(1)

    async with server, opened(server) as client:
        await client.connect()
        assert await client.receive() == '42["hello"]'
        assert await client.receive() == '42["to the room"]'
        assert server.main.emit("to all") == 1
        assert await client.receive() == '42["to all"]'


async def test_the_acceptance_has_a_moment_to_itself(autojump_clock):
    server = SocketServer()

    @server.main.on_connect
    async def connect(socket: Socket, auth: dict[str, Any]) -> None:
        socket.emit("hello")

    async with server, opened(server) as client:
        await client.connect()
        accepted = trio.current_time()
        assert await client.receive() == '42["hello"]'
        assert trio.current_time() - accepted == 0.01


async def test_rejected_socket_receives_nothing_and_leaves_its_rooms(autojump_clock):
    server = SocketServer()

    @server.main.on_connect
    async def connect(socket: Socket, auth: dict[str, Any]) -> None:
        socket.join("room")
        socket.emit("secret")
        raise ConnectionRejected

    async with server, opened(server) as client:
        await client.send("40")
        assert await client.receive() == '44{"message":"Connection refused"}'
        assert not server.main.members("room")
        assert await client.close_code() == 1000


async def test_what_waits_for_an_acceptance_is_bounded(autojump_clock):
    server = SocketServer(outbox_limit=4)

    @server.main.on_connect
    async def connect(socket: Socket, auth: dict[str, Any]) -> None:
        for number in range(10):
            socket.emit("early", number)
        await trio.sleep(1)

    async with server, opened(server) as client:
        await client.send("40")
        assert await client.close_code() == 1013


async def test_session_without_a_namespace_is_closed_after_the_connect_timeout(autojump_clock):
    async with SocketServer(connect_timeout=45) as server, opened(server) as client:
        begin = trio.current_time()
        await client.send("40/unknown")
        assert await client.receive() == '44/unknown,{"message":"Invalid namespace"}'
        await trio.sleep(20)
        await client.send("3")
        assert await client.close_code() == 1000
        assert trio.current_time() - begin == 45


async def test_client_without_namespaces_has_the_connect_timeout_to_connect(autojump_clock):
    async with SocketServer(connect_timeout=20) as server, connected(server) as client:
        await trio.sleep(24)
        await client.send("41")
        await trio.sleep(19)
        await client.send("3")
        await client.connect()
        await client.send("41")
        begin = trio.current_time()
        assert await client.close_code() == 1000
        assert trio.current_time() - begin == 20


async def test_disconnect_handler_runs_before_a_reconnect_to_the_namespace(autojump_clock):
    server = SocketServer()
    diary = Diary(server)
    async with server, connected(server) as client:
        await client.send('42["one",1]', "41", "40", '42["two"]', "41", "40")
        await trio.sleep(5)
    once = ["connect", "one", "client namespace disconnect"]
    twice = [*once, *once[:1], "two", *once[2:]]
    assert diary.entries == [*twice, "connect", "transport close"]


async def test_connecting_twice_to_a_namespace_ends_the_session(autojump_clock):
    async with SocketServer() as server, connected(server) as client:
        await client.send("40")
        assert await client.close_code() == 1002


async def test_events_before_a_disconnect_are_handled_before_it(autojump_clock):
    server = SocketServer()
    diary = Diary(server)
    async with server, connected(server) as client:
        await client.send('42["one",1]', '42["two",1]', "41")
        await client.leave()
        await trio.sleep(10)
    assert diary.entries == ["connect", "one", "two", "client namespace disconnect"]


async def test_handlers_of_an_ended_socket_have_only_the_linger_time(autojump_clock):
    server = SocketServer(linger=5)
    diary = Diary(server)
    async with server, connected(server) as client:
        await client.send('42["quick",2]', '42["slow",100]', '42["never",100]')
        await trio.sleep(1)
        await client.leave()
        await trio.sleep(10)
        assert diary.entries == ["connect", "quick", "transport close"]


async def test_disconnect_handler_runs_for_a_client_that_leaves_while_connecting(autojump_clock):
    server = SocketServer()
    diary = Diary(server)
    async with server, opened(server) as client:
        await client.send('40{"think":1}')
        await client.leave()
        assert not server.sockets
        await trio.sleep(5)
        assert not server.sockets
    assert diary.entries == ["connect", "transport close"]


async def test_server_disconnect_sends_a_packet_and_leaves_the_session_open(autojump_clock):
    server = SocketServer()
    diary = Diary(server)
    async with server, connected(server) as client:
        (socket,) = server.sockets
        socket.disconnect()
        assert await client.receive() == "41"
        await client.connect()
        (socket,) = server.sockets
        socket.disconnect(close=True)
        assert await client.receive() == "41"
        assert await client.close_code() == 1000
    assert diary.entries == ["connect", "server namespace disconnect"] * 2


async def test_the_session_may_be_closed_with_a_code(autojump_clock):
    server = SocketServer()
    diary = Diary(server)
    async with server, connected(server) as client:
        (socket,) = server.sockets
        socket.emit("token_expired")
        socket.session.close("token expired", 4401)
        assert await client.receive() == '42["token_expired"]'
        assert await client.close_code() == 4401
    assert diary.entries == ["connect", "token expired"]


async def test_disconnect_handler_gets_slow_consumer_as_reason(autojump_clock):
    server = SocketServer(outbox_limit=4)
    diary = Diary(server)
    async with server, connected(server):
        (socket,) = server.sockets
        for _ in range(10):
            socket.emit("flood")
        await trio.testing.wait_all_tasks_blocked()
    assert diary.entries == ["connect", "slow consumer"]


async def test_disconnect_handler_sees_the_former_rooms(autojump_clock):
    server = SocketServer()
    seen: list[set[str]] = []

    @server.main.on_connect
    async def connect(socket: Socket, auth: dict[str, Any]) -> None:
        socket.join("kitchen")
        socket.data["name"] = "Ann"

    @server.main.on_disconnect
    async def disconnect(socket: Socket, reason: str) -> None:
        assert not server.main.members("kitchen")
        assert socket.data == {"name": "Ann"}
        seen.append(socket.rooms)

    async with server, connected(server) as client:
        await client.leave()
        await trio.testing.wait_all_tasks_blocked()
    assert seen == [{"kitchen"}]


async def test_several_namespaces_share_a_session_and_end_with_it(autojump_clock):
    server = SocketServer()
    admin = server.namespace("/admin")
    parted: list[str] = []

    async def disconnect(socket: Socket, reason: str) -> None:
        parted.append(socket.namespace.name)

    server.main.on_disconnect(disconnect)
    admin.on_disconnect(disconnect)
    async with server, connected(server) as client:
        await client.connect("/admin", token="t")
        assert len(server.engine.sessions) == 1
        one, two = server.sockets
        assert one.session is two.session
        assert one.id != two.id
        admin.emit("only here")
        assert await client.receive() == '42/admin,["only here"]'
        await client.leave()
        await trio.testing.wait_all_tasks_blocked()
        assert set(parted) == {"/", "/admin"}


async def test_the_request_is_at_hand(autojump_clock):
    server = SocketServer()

    @server.main.on_connect
    async def connect(socket: Socket, auth: dict[str, Any]) -> None:
        socket.emit("seen", socket.request.header("host"), socket.request.query["transport"])

    async with server, connected(server) as client:
        assert await client.receive() == '42["seen","testserver","websocket"]'


async def test_leaving_the_server_leaves_no_task(autojump_clock):
    server = SocketServer()

    @server.main.on("work")
    async def work(socket: Socket) -> None:
        await trio.sleep_forever()

    async def client() -> None:
        async with connected(server) as one:
            await one.send('42["work"]')
            assert await one.close_code() == 1001

    async with trio.open_nursery() as nursery:
        async with server:
            nursery.start_soon(client)
            await trio.sleep(1)
            (socket,) = server.sockets
        assert not server.sockets
        assert not socket.send(Message.of("x"))
