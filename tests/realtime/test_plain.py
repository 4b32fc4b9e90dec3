"""Plain WebSockets: frames that are wrong, readers that are slow, peers that are silent."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
import trio.testing

from cookcam.realtime.service import PLAIN_PATH
from tests.support.asgi import Closed
from tests.support.realtime import ApiUser, Live, open_live

ANN, BOB = ApiUser(name="Ann"), ApiUser(name="Bob")


async def test_three_malformed_frames_in_a_row_end_the_connection(autojump_clock):
    async with open_live() as live, live.plain(ANN) as ann:
        for frame in ("{", "[]"):
            await ann.send_raw(frame)
            assert (await ann.expect("error"))["code"] == "INVALID_JSON"
        assert (await ann.ask("ping"))["event"] == "pong"  # a good one between
        for frame in ("null", '"x"'):
            await ann.send_raw(frame)
            await ann.expect("error")
        await ann.send_raw("")
        assert await ann.close_code() == 1007


async def test_an_object_that_is_no_frame_names_the_field(autojump_clock):
    async with open_live() as live, live.plain(ANN) as ann:
        for number in range(5):
            await ann.send_raw(json.dumps({"event": None, "id": number}))
            assert await ann.receive() == {
                "event": "error",
                "data": {
                    "message": "Invalid payload",
                    "code": "VALIDATION_ERROR",
                    "field": "event",
                    "fields": [{"field": "event", "rule": "must be text of 1 to 128 characters"}],
                },
                "replyTo": number,
            }
        await ann.send_raw('{"event":"ping","id":[1]}')
        assert (await ann.expect("error"))["field"] == "id"


@pytest.mark.parametrize(
    ("frame", "code"), [(b"{}", 1003), ("x" * 65_537, 1009), ("é" * 32_769, 1009)]
)
async def test_binary_and_large_frames_end_the_connection(autojump_clock, frame, code):
    async with open_live() as live, live.plain(ANN) as ann:
        await ann.send_raw(frame)
        assert await ann.close_code() == code
        assert live.hub.connection_count() == 0


async def test_the_largest_frame_is_accepted(autojump_clock):
    async with open_live() as live, live.plain(ANN) as ann:
        filler = "x" * (65_536 - len('{"event":"join","data":{"room":"r","more":""}}'))
        await ann.send_raw(f'{{"event":"join","data":{{"room":"r","more":"{filler}"}}}}')
        await ann.expect("joined")


async def test_ping_of_a_client_gets_a_pong(autojump_clock):
    async with open_live() as live, live.plain(ANN) as ann:
        await ann.send("ping")
        frame = await ann.receive()
        assert frame == {"event": "pong", "data": {"timestamp": frame["data"]["timestamp"]}}


# -- heartbeats


async def test_a_silent_peer_is_pinged_and_closed(autojump_clock):
    async with open_live() as live, live.plain(ANN, answers_pings=False) as ann:
        assert await ann.close_code() == 1011
        assert (ann.pings, trio.current_time()) == ([25], 45)


async def test_peer_that_responds_to_pings_stays_connected(autojump_clock):
    async with open_live() as live, live.plain(ANN) as ann:
        await trio.sleep(190)
        assert live.hub.connection_count() == 1
        assert ann.pings == [25, 50, 75, 100, 125, 150, 175]


async def test_any_frame_is_a_sign_of_life(autojump_clock):
    async with open_live() as live, live.plain(ANN, answers_pings=False) as ann:
        for _ in range(10):
            await trio.sleep(30)
            await ann.ask("say", {"room": "r"})
        await trio.sleep(44)
        assert live.hub.connection_count() == 1
        await trio.sleep(2)
        assert live.hub.connection_count() == 0


async def test_without_the_extension_no_client_is_pinged_or_closed(autojump_clock):
    async with open_live() as live:
        gone = trio.Event()
        incoming = [{"type": "websocket.connect"}]
        sent: list[Any] = []

        async def receive() -> Any:
            if incoming:
                return incoming.pop()
            await gone.wait()
            return {"type": "websocket.disconnect", "code": 1006}

        async def send(message: Any) -> None:
            sent.append(message["type"])

        scope = {
            "type": "websocket",
            "path": PLAIN_PATH,
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {live.token(ANN)}".encode())],
            "client": ("192.0.2.1", 1),
        }
        async with trio.open_nursery() as nursery:
            nursery.start_soon(live.realtime, scope, receive, send)
            await trio.sleep(1000)
            assert live.hub.connection_count() == 1
            gone.set()
        assert sent == ["websocket.accept", "websocket.send"]


# -- slow readers


async def flood(live: Live, count: int, *, volatile: bool = False) -> None:
    for number in range(count):
        live.hub.broadcast("flood", {"n": number}, volatile=volatile)
        await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize("slow_protocol", ["plain", "socketio"])
async def test_a_reader_that_stops_is_closed_and_the_others_get_everything(
    autojump_clock, slow_protocol
):
    async with open_live() as live, live.plain(ANN) as ann, live.socketio(BOB) as bob:
        slow = live.plain_socket if slow_protocol == "plain" else live.socketio_session
        async with slow(reading=False) as third:
            token = live.token(ApiUser())
            if slow_protocol == "plain":
                await third.send("authenticate", {"token": token})
                await third.expect("connected")
            else:
                await third.send_raw(f"40{json.dumps({'token': token})}")
                await third.receive()
                await third.expect("connected")
            await flood(live, 1000)
            assert live.hub.connection_count() == 2
            for number in range(1000):
                assert await ann.expect("flood") == {"n": number}
                assert await bob.expect("flood") == {"n": number}
            assert await third.close_code() == 1013
        text = live.metrics.render().decode()
    name = {"plain": "plain", "socketio": "socket.io"}[slow_protocol]
    assert f'ws_outbox_overflow_total{{protocol="{name}"}} 1.0' in text


async def test_volatile_events_are_dropped_before_the_connection_is_closed(autojump_clock):
    async with open_live() as live, live.plain_socket(reading=False) as slow:
        await slow.send("authenticate", {"token": live.token(ANN)})
        await slow.expect("connected")
        await flood(live, 400, volatile=True)
        live.hub.send_to_user(ANN.id, "must_arrive", {})
        received = [await slow.receive() for _ in range(257)]
        assert received[0]["data"] == {"n": 0}  # was being written
        assert [frame["data"] for frame in received[1:-1]] == [{"n": n} for n in range(145, 400)]
        assert received[-1]["event"] == "must_arrive"


async def test_a_reader_that_never_resumes_is_cut_after_the_bound_of_a_close(autojump_clock):
    async with open_live() as live, live.plain_socket(reading=False) as slow:
        await slow.send("authenticate", {"token": live.token(ANN)})
        await slow.expect("connected")
        began = trio.current_time()
        await flood(live, 300)
        await slow.conversation.over.wait()
        assert trio.current_time() - began == 5
        assert live.departures == [(ANN.id, set(), "slow consumer")]


async def test_peer_that_does_not_respond_to_the_close_is_cut(autojump_clock):
    async with open_live() as live, live.plain(ANN) as ann:
        began = trio.current_time()
        await ann.send_raw(b"binary")
        await ann.conversation.over.wait()
        assert trio.current_time() - began == 5
        assert live.departures == [(ANN.id, set(), "binary frame")]


async def test_what_was_sent_before_a_close_arrives_and_what_is_sent_after_does_not(autojump_clock):
    async with open_live() as live, live.plain(ANN) as ann:
        (connection,) = live.hub.connections
        assert connection.send("one", {})
        connection.close(4403, "account disabled")
        assert not connection.send("two", {})
        await ann.expect("one")
        with pytest.raises(Closed) as closed:
            await ann.receive()
        assert (closed.value.code, closed.value.reason) == (4403, "account disabled")


async def test_a_broken_connection_ends_with_its_handlers(autojump_clock):
    async with open_live() as live, live.plain(ANN) as ann:
        await ann.send("wait", {"room": "20"})
        await ann.conversation.disconnect(1006)
        with trio.fail_after(5.1):
            await ann.conversation.over.wait()
        assert live.departures == [(ANN.id, set(), "transport close")]


async def test_reading_pauses_for_a_client_that_sends_too_fast(autojump_clock):
    async with open_live() as live, live.plain(ANN) as ann, trio.open_nursery() as nursery:

        async def talk() -> None:
            for _ in range(30):
                await ann.send("wait", {"room": "1"})

        nursery.start_soon(talk)
        await trio.sleep(0.5)
        assert ann.conversation._to_app.statistics().tasks_waiting_send == 1
        for _ in range(30):
            await ann.expect("waited")
        assert trio.current_time() == 30
