"""Events and acknowledgements both ways, their order, and what becomes of failures."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from cookcam.realtime.socketio import Disconnected, PacketOverLimit, Socket, SocketServer
from tests.realtime.socketio.client import connected, opened


@pytest.mark.parametrize(
    ("returned", "response"),
    [
        (None, "[null]"),
        ((), "[]"),
        ({"ok": True}, '[{"ok":true}]'),
        ([1, 2], "[[1,2]]"),
        ((1, "2"), '[1,"2"]'),
        (False, "[false]"),
    ],
)
async def test_what_a_handler_returns_is_the_acknowledgement(returned, response, autojump_clock):
    server = SocketServer()

    @server.main.on("ask")
    async def ask(socket: Socket, question: str) -> Any:
        assert question == "why"
        return returned

    async with server, connected(server) as client:
        await client.send('42["ask","why"]', '4217["ask","why"]')
        assert await client.receive() == f"4317{response}"


async def test_events_without_a_handler_go_to_the_one_for_any_and_else_nowhere(autojump_clock):
    server = SocketServer()
    other = server.namespace("/other")

    @server.main.on_any
    async def any_event(socket: Socket, event: str, args: list[Any]) -> str:
        return f"{event} {args}"

    async with server, connected(server) as client:
        await client.connect("/other")
        await client.send('42/other,1["unknown"]', '422["unknown",1]', "423[5,1]")
        assert await client.receive() == '432["unknown [1]"]'
        assert await client.receive() == '433["5 [1]"]'
        await trio.testing.wait_all_tasks_blocked()
        await client.send('424["last"]')
        assert await client.receive() == '434["last []"]'
        assert len(other.sockets) == 1


async def test_call_waits_for_the_acknowledgement(autojump_clock):
    server = SocketServer()
    responses: list[Any] = []

    @server.main.on("start")
    async def start(socket: Socket) -> None:
        responses.append(await socket.call("name", b"?", timeout=5))
        responses.append(await socket.call("age", timeout=5))

    async with server, connected(server) as client:
        await client.send('42["start"]')
        assert await client.receive() == '451-0["name",{"_placeholder":true,"num":0}]'
        assert await client.receive() == b"?"
        await client.send('461-0["Ann",{"_placeholder":true,"num":0}]', b"!")
        assert await client.receive() == '421["age"]'
        await client.send("4399[]", "431[7]", "431[8]")
        await trio.testing.wait_all_tasks_blocked()
        assert responses == [("Ann", b"!"), (7,)]


async def test_a_call_ends_with_its_timeout_or_its_client(autojump_clock):
    server = SocketServer()
    outcomes: list[type[Exception]] = []

    @server.main.on("start")
    async def start(socket: Socket) -> None:
        for timeout in (5, 1000):
            try:
                await socket.call("anybody", timeout=timeout)
            except (trio.TooSlowError, Disconnected) as error:
                outcomes.append(type(error))
        with pytest.raises(Disconnected):
            await socket.call("anybody", timeout=1)

    async with server, connected(server) as client:
        await client.send('42["start"]')
        begin = trio.current_time()
        await trio.sleep(6)
        assert outcomes == [trio.TooSlowError]
        await client.leave()
        await trio.testing.wait_all_tasks_blocked()
        assert outcomes == [trio.TooSlowError, Disconnected]
        assert trio.current_time() - begin == 6


async def test_events_of_a_socket_are_handled_in_order_and_of_others_meanwhile(autojump_clock):
    server = SocketServer()
    log: list[str] = []

    @server.main.on("work")
    async def work(socket: Socket, name: str, seconds: float) -> None:
        log.append(f"{name} begins")
        await trio.sleep(seconds)
        log.append(f"{name} ends")

    async with server, connected(server) as one, connected(server) as two:
        await one.send('42["work","a",2]', '42["work","b",1]')
        await trio.testing.wait_all_tasks_blocked()
        await two.send('42["work","c",0.5]')
        await trio.sleep(10)
    assert log == ["a begins", "c begins", "c ends", "a ends", "b begins", "b ends"]


async def test_a_flood_of_events_stops_the_reading_until_the_handlers_have_caught_up(
    autojump_clock,
):
    server = SocketServer()
    handled: list[int] = []

    @server.main.on("work")
    async def work(socket: Socket, number: int) -> None:
        await trio.sleep(0.01)
        handled.append(number)

    async with server, connected(server) as client, trio.open_nursery() as nursery:
        sent = 0

        async def flood() -> None:
            nonlocal sent
            for number in range(300):
                await client.send(f'42["work",{number}]')
                sent += 1

        nursery.start_soon(flood)
        await trio.testing.wait_all_tasks_blocked()
        assert sent < 150
        await trio.sleep(10)
        assert handled == list(range(300))


async def test_failing_handler_is_reported_and_the_connection_stays_open(autojump_clock):
    reports: list[tuple[str, str, str]] = []

    def report(socket: Socket, event: str, error: Exception) -> None:
        reports.append((socket.id, event, repr(error)))
        socket.emit("error", {"message": "Internal error", "event": event})

    server = SocketServer(on_error=report)

    @server.main.on("fail")
    async def fail(socket: Socket) -> None:
        raise KeyError("oops")

    @server.main.on("nonsense")
    async def nonsense(socket: Socket) -> object:
        return object()

    async with server, connected(server) as client:
        (socket,) = server.sockets
        await client.send('421["fail"]', '422["nonsense"]', '42["fail","one argument too many"]')
        for event in ("fail", "nonsense", "fail"):
            expected = f'42["error",{{"message":"Internal error","event":"{event}"}}]'
            assert await client.receive() == expected
        assert [report[:2] for report in reports] == [
            (socket.id, "fail"),
            (socket.id, "nonsense"),
            (socket.id, "fail"),
        ]
        assert reports[0][2] == "KeyError('oops')"


async def test_failures_are_logged_by_default(autojump_clock, caplog):
    server = SocketServer()

    @server.main.on("fail")
    async def fail(socket: Socket) -> None:
        raise KeyError("oops")

    async with server, connected(server) as client:
        await client.send('42["fail"]')
        await trio.testing.wait_all_tasks_blocked()
    assert "handler of 'fail' failed in namespace /" in caplog.text
    assert "KeyError: 'oops'" in caplog.text


async def test_background_task_ends_with_its_socket(autojump_clock):
    reports: list[str] = []
    server = SocketServer(on_error=lambda socket, event, error: reports.append(event))
    ended = trio.Event()

    async def tick(socket: Socket) -> None:
        try:
            while True:
                await trio.sleep(1)
                socket.emit("tick")
        finally:
            ended.set()

    async def fail() -> None:
        raise ValueError

    @server.main.on_connect
    async def connect(socket: Socket, auth: dict[str, Any]) -> None:
        socket.start_soon(tick, socket)
        socket.start_soon(fail, name="failing")

    async with server, connected(server) as client:
        assert await client.receive() == '42["tick"]'
        assert await client.receive() == '42["tick"]'
        await client.leave()
        await ended.wait()
        assert reports == ["failing"]


async def test_emit_to_an_ended_socket_returns_false(autojump_clock):
    server = SocketServer()
    async with server, connected(server) as client:
        (socket,) = server.sockets
        assert socket.emit("x") is True
        await client.leave()
        await trio.testing.wait_all_tasks_blocked()
        assert socket.emit("x") is False
        assert server.main.emit("x") == 0
        socket.join("room")
        socket.start_soon(trio.sleep_forever)
        socket.disconnect(close=True)
        assert not server.main.members("room")


async def test_an_event_to_a_namespace_never_connected_to_ends_the_session(autojump_clock):
    server = SocketServer()
    server.namespace("/other")
    async with server, connected(server) as client:
        await client.send('42/other,["x"]')
        assert await client.close_code() == 1002


async def test_events_under_way_when_a_socket_was_disconnected_are_dropped(autojump_clock):
    server = SocketServer()

    @server.namespace("/other").on("x")
    async def handle(socket: Socket) -> str:
        return "handled"

    async with server, opened(server) as client:
        await client.connect()
        await client.connect("/other")
        next(socket for socket in server.sockets if socket.namespace is server.main).disconnect()
        assert await client.receive() == "41"
        await client.send('42["too late"]', '42/other,3["x"]')
        assert await client.receive() == '43/other,3["handled"]'


TOO_DEEP = "[" * 65 + "]" * 65


async def test_packet_over_a_limit_goes_to_its_handler_and_the_session_goes_on(autojump_clock):
    server = SocketServer(max_payload=1_000, read_limit=2_000)

    @server.main.on_over_limit
    async def over_limit(socket: Socket, error: PacketOverLimit) -> str:
        socket.emit("dropped", error.reason)
        return "dropped"

    @server.main.on("ask")
    async def ask(socket: Socket, *args: Any) -> str:
        return "handled"

    async with server, connected(server) as client:
        eleven = '511-7["ask"]'
        for packet in (f'427["ask",{TOO_DEEP}]', f'427["ask","{"x" * 1_001}"]', "4" + eleven):
            await client.send(packet)
            if packet.endswith(eleven):
                for _ in range(11):
                    await client.send(b"attachment")
            assert (await client.receive()).startswith('42["dropped","')
            assert await client.receive() == '437["dropped"]'
        await client.send(f"431[{TOO_DEEP}]")  # to no question, and acknowledged to nobody
        assert (await client.receive()).startswith('42["dropped","The JSON is nested')
        await client.send('428["ask",1]')
        assert await client.receive() == '438["handled"]'
        await client.send("4" + "x" * 2_000)
        assert await client.close_code() == 1009


async def test_packet_over_a_limit_ends_the_session_without_a_handler(autojump_clock):
    server = SocketServer()
    async with server, connected(server) as client:
        await client.send(f'427["ask",{TOO_DEEP}]')
        assert await client.close_code() == 1002


async def test_connect_packet_over_a_limit_is_rejected_with_its_reason(autojump_clock):
    server = SocketServer()
    async with server, opened(server) as client:
        await client.send('40{"a":' + TOO_DEEP + "}")
        reason = "The JSON is nested more than 64 levels deep"
        assert await client.receive() == f'44{{"message":"{reason}"}}'
        await client.connect()
