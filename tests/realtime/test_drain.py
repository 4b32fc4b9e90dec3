"""Shutdown: every client gets the announcement, and the close of its protocol."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

from cookcam.lifecycle.state import Phase
from tests.support.asgi import request
from tests.support.node_clients import node_clients
from tests.support.realtime import (
    SOCKETIO_PATH,
    WEBSOCKET,
    ApiUser,
    Live,
    open_live,
    serving,
)

ANN, BOB = ApiUser(name="Ann"), ApiUser(name="Bob")
POLLING = "EIO=4&transport=polling"
MANY = {
    "SOCKET_MAX_PER_USER": "1000",
    "SOCKET_HANDSHAKES_PER_MINUTE": "10000",
}


def drained(live: Live) -> dict[str, Any]:
    """The log line with the counts of closed sockets."""
    return next(line for line in live.log if line["message"] == "All WebSocket connections closed")


def is_notice(data: Any) -> bool:
    return (
        data["message"] == "Server is shutting down for maintenance"
        and data["timestamp"].endswith("Z")
        and 1000 <= data["reconnectAfterMs"] <= 10_000
    )


async def test_both_protocols_get_the_announcement_and_their_own_close(autojump_clock):
    async with open_live() as live, live.plain(ANN) as ann, live.socketio(BOB) as bob:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(live.shut_down)
            assert is_notice(await ann.expect("server_shutdown"))
            assert await ann.close_code() == 1001
            assert is_notice(await bob.expect("server_shutdown"))
            assert await bob.receive() == "41"
            assert await bob.close_code() == 1001
        assert trio.current_time() < 1
        assert (drained(live)["clean"], drained(live)["cut"]) == (2, 0)
        assert live.realtime.connections() == 0
        assert {departure[2] for departure in live.departures} == {"server shutting down"}
        # One line for all of them.
        assert not [line for line in live.log if line["message"] == "socket disconnected"]


async def test_each_client_gets_its_own_reconnect_delay(autojump_clock):
    async with open_live(**MANY) as live:
        async with live.plain(ANN) as one, live.plain(ANN) as two, live.plain(ANN) as three:
            await live.realtime.notice()
            times = {
                (await client.expect("server_shutdown"))["reconnectAfterMs"]
                for client in (one, two, three)
            }
        assert len(times) > 1


async def test_announcement_comes_first_and_events_continue_until_the_drain(autojump_clock):
    async with open_live(DRAIN_NOTICE_SECONDS="10") as live, live.plain(ANN) as ann:
        live.lifecycle.enter(Phase.NOTICE)
        await live.realtime.notice()
        await live.realtime.notice()  # sent once
        await ann.expect("server_shutdown")
        assert (await ann.ask("join", {"room": "r"}))["event"] == "joined"
        assert live.realtime.status == "draining"


async def test_running_handler_finishes_and_its_response_arrives(autojump_clock):
    async with open_live() as live, live.plain(ANN) as ann, live.socketio(BOB) as bob:
        await ann.send("wait", {"room": "2"})
        await bob.send("wait", {"room": "2"})
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(live.shut_down)
            for client in (ann, bob):
                await client.expect("server_shutdown")
                assert await client.expect("waited") == {"seconds": "2"}
            assert await ann.close_code() == 1001
            assert await bob.close_code() == 1001
        assert trio.current_time() < 2.1
        assert drained(live)["cut"] == 0


async def test_connection_that_does_not_respond_is_cut_at_the_timeout(autojump_clock):
    async with open_live() as live, live.plain(ANN) as ann, live.socketio(BOB) as bob:
        await live.shut_down()
        assert 3 <= trio.current_time() < 3.1
        assert (drained(live)["clean"], drained(live)["cut"]) == (0, 2)
        for client in (ann, bob):
            await client.conversation.over.wait()
        assert len(live.departures) == 2


async def test_a_handler_that_does_not_end_is_cut_at_the_bound(autojump_clock):
    async with open_live() as live, live.plain(ANN) as ann:
        await ann.send("wait", {"room": "20"})
        await trio.sleep(1)
        await live.shut_down()
        assert 4 <= trio.current_time() < 4.1
        assert drained(live)["cut"] == 1


async def test_unauthenticated_socket_is_closed_too(autojump_clock):
    async with (
        open_live() as live,
        live.plain_socket() as plain,
        live.socketio_session() as socketio,
        trio.open_nursery() as nursery,
    ):
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(live.shut_down)
        assert await plain.close_code() == 1001
        assert await socketio.close_code() == 1001


async def test_sessions_without_a_socket_are_counted_and_cost_half_a_second(autojump_clock):
    """They were rejected, or left by a client that only opened them; nothing is lost with them."""
    async with open_live() as live:
        service = live.realtime
        abandoned = await request(service, "GET", SOCKETIO_PATH, POLLING)
        assert abandoned.text.startswith("0{")
        rejected = await request(service, "GET", SOCKETIO_PATH, POLLING)
        session = f"{POLLING}&sid={json.loads(rejected.text[1:])['sid']}"
        await request(service, "POST", SOCKETIO_PATH, session, b'40{"token":"x"}')
        async with live.socketio_session() as silent:
            await silent.send_raw('40{"token":"x"}')
            assert (await silent.receive()).startswith("44")
            await trio.sleep(30)  # a ping waits for the polling clients
            async with (
                live.plain(ANN) as ann,
                live.plain_socket() as unknown,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(ann.close_code)
                nursery.start_soon(unknown.close_code)
                await trio.testing.wait_all_tasks_blocked()
                began = trio.current_time()
                # The HTTP server counts the WebSocket connections, and not those that poll.
                assert await live.shut_down() == 2
                assert trio.current_time() - began < 1
            await silent.conversation.over.wait()
        [closing] = [x for x in live.log if x["message"] == "Closing WebSocket connections..."]
        assert closing["connections"] == 5
        assert (drained(live)["clean"], drained(live)["cut"]) == (5, 0)


async def test_authentication_during_the_start_of_a_drain_is_rejected(autojump_clock):
    async with (
        open_live() as live,
        live.plain_socket() as plain,
        live.socketio_session() as socketio,
    ):
        live.lifecycle.enter(Phase.NOTICE)
        await plain.send("authenticate", {"token": live.token(ANN)})
        assert await plain.expect("connect_error") == {"message": "Server is shutting down"}
        assert await plain.close_code() == 1001
        await socketio.send_raw(f"40{json.dumps({'token': live.token(BOB)})}")
        assert await socketio.receive() == '44{"message":"Server is shutting down"}'


async def poll(live: Live, sid: str) -> str:
    return (await request(live.realtime, "GET", SOCKETIO_PATH, f"{POLLING}&sid={sid}")).text


async def polling(live: Live, person: ApiUser) -> str:
    """A connected client that polls; its session."""
    opened = await request(live.realtime, "GET", SOCKETIO_PATH, POLLING)
    sid = json.loads(opened.text[1:])["sid"]
    body = f"40{json.dumps({'token': live.token(person)})}".encode()
    await request(live.realtime, "POST", SOCKETIO_PATH, f"{POLLING}&sid={sid}", body)
    received = ""
    while "connected" not in received:
        received += await poll(live, sid)
    return sid


@pytest.mark.parametrize("waiting", [True, False])
async def test_polling_client_gets_announcement_and_goodbye_in_one_response(
    autojump_clock, waiting
):
    async with open_live() as live:
        sid = await polling(live, ANN)
        responses: list[str] = []

        async def ask() -> None:
            await trio.sleep(0 if waiting else 0.5)
            responses.append(await poll(live, sid))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(live.shut_down)
        notice, goodbye = responses[0].split("\x1e")
        assert is_notice(json.loads(notice[2:])[1])
        assert goodbye == "41"
        # It did not come back to close the transport, and was not waited for.
        assert (drained(live)["clean"], drained(live)["cut"]) == (1, 0)
        assert trio.current_time() < 1.1


async def test_polling_client_that_polls_again_gets_the_close(autojump_clock):
    async with open_live() as live, trio.open_nursery() as nursery:
        sid = await polling(live, ANN)
        nursery.start_soon(live.shut_down)
        assert (await poll(live, sid)).endswith("\x1e41")
        assert await poll(live, sid) == "1"
    assert drained(live)["clean"] == 1


async def test_polling_client_with_a_running_handler_gets_announcement_and_response(autojump_clock):
    async with open_live() as live, trio.open_nursery() as nursery:
        sid = await polling(live, ANN)
        body = b'42["wait",{"room":"2"}]'
        await request(live.realtime, "POST", SOCKETIO_PATH, f"{POLLING}&sid={sid}", body)
        await trio.testing.wait_all_tasks_blocked()  # the handler runs
        nursery.start_soon(live.shut_down)
        received = [await poll(live, sid)]
        assert "server_shutdown" in received[0]
        while "41" not in received[-1].split("\x1e"):
            received.append(await poll(live, sid))
        assert any("waited" in response for response in received)
    assert drained(live)["clean"] == 1


async def test_polling_client_gets_the_announcement_at_once_if_the_drain_is_later(autojump_clock):
    async with open_live(DRAIN_NOTICE_SECONDS="10") as live:
        sid = await polling(live, ANN)
        live.lifecycle.enter(Phase.NOTICE)
        await live.realtime.notice()
        assert "server_shutdown" in await poll(live, sid)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(live.realtime.drain)
            assert await poll(live, sid) == "41"


# -- on a real port


async def test_two_hundred_sockets_of_both_protocols():
    """Each reads by its own task, as two hundred devices would."""
    notices: list[bool] = []
    ends: list[tuple[str, int]] = []

    async def device(live: Live, address: str, number: int, ready: Any) -> None:
        plain = number % 2 == 0
        path = "/api/v1/realtime" if plain else f"{SOCKETIO_PATH}?{WEBSOCKET}"
        async with open_websocket_url(f"ws://{address}{path}") as websocket:
            token = {"token": live.token(ANN)}
            first = {"event": "authenticate", "data": token}
            await websocket.send_message(json.dumps(first) if plain else f"40{json.dumps(token)}")
            last = await read(websocket, ready, notices)
            assert websocket.closed is not None
            ends.append((last, websocket.closed.code))

    async with open_live(now=time.time, **MANY) as live, serving(live) as address:
        began = time.monotonic()
        async with trio.open_nursery() as nursery:
            for number in range(200):
                await nursery.start(device_started, device, live, address, number)
            assert live.realtime.connections() == 200
            began = time.monotonic()
            await live.shut_down()
        took = time.monotonic() - began
        assert drained(live)["clean"] == 200, took
        assert drained(live)["cut"] == 0
    assert notices == [True] * 200
    assert sorted(ends) == [("41", 1001)] * 100 + [("notice", 1001)] * 100


async def device_started(device: Any, *args: Any, task_status: Any) -> None:
    await device(*args, task_status)


async def read(websocket: WebSocketConnection, ready: Any, notices: list[bool]) -> str:
    """Reads to the end; what the last message was."""
    last = ""
    try:
        while True:
            text = await websocket.get_message()
            if '"connected"' in text:
                ready.started()
            if "server_shutdown" in text:
                frame = json.loads(text.removeprefix("42"))
                notices.append(is_notice(frame["data"] if isinstance(frame, dict) else frame[1]))
                last = "notice"
            else:
                last = text
    except ConnectionClosed:
        return last


@pytest.mark.external
@pytest.mark.parametrize("transports", [["polling"], ["websocket"], ["polling", "websocket"]])
async def test_real_clients_get_the_announcement_and_the_goodbye(transports):
    async with (
        open_live(now=time.time, **MANY) as live,
        serving(live) as address,
        node_clients() as clients,
    ):
        sockets = [
            await clients.connect(f"http://{address}", live.token(ANN), transports=transports)
            for _ in range(20)
        ]
        for socket in sockets:
            await socket.expect("event connected")
            if len(transports) == 2:
                await socket.expect("upgrade")
        await live.shut_down()
        for socket in sockets:
            assert is_notice(await socket.expect("event server_shutdown"))
            end = await socket.expect("disconnect")
            assert (end["reason"], end["active"]) == ("io server disconnect", False)
        assert (drained(live)["clean"], drained(live)["cut"]) == (20, 0)
