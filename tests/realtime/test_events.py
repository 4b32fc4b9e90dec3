"""Events of clients: schema, answers, failures and limits, the same over both protocols."""

from __future__ import annotations

import json
from typing import Annotated, Any

import msgspec
import pytest
import trio

from cookcam.errors import (
    InsufficientPermissions,
    NotFound,
    RateLimited,
    ServiceUnavailable,
    ValidationError,
)
from cookcam.realtime.connection import Connection
from cookcam.realtime.events import Events
from tests.support.asgi import Closed
from tests.support.realtime import ApiUser, Note, open_live

ANN, BOB = ApiUser(name="Ann"), ApiUser(name="Bob")
BIG = "x" * 2_000_001


async def test_both_protocols_share_rooms(autojump_clock):
    async with open_live() as live, live.plain(ANN) as ann, live.socketio(BOB) as bob:
        await bob.send("join", {"room": "kitchen"})
        assert await bob.expect("joined") == {"room": "kitchen", "userName": "Bob"}
        await ann.send("join", {"room": "kitchen"})
        assert await ann.expect("joined") == {"room": "kitchen", "userName": "Ann"}
        await ann.send("say", {"room": "kitchen", "text": "hello"})
        assert await bob.expect("said") == {"text": "hello", "userId": str(ANN.id)}
        await bob.send("say", {"room": "kitchen", "text": "hello back"})
        assert await ann.expect("said") == {"text": "hello back", "userId": str(BOB.id)}
        assert live.hub.broadcast("everybody", {}) == 2
        await ann.expect("everybody")
        await bob.expect("everybody")


async def test_frame_with_an_id_gets_exactly_one_response(autojump_clock):
    async with open_live() as live, live.plain(ANN) as ann, live.socketio(BOB) as bob:
        joined = {"room": "r", "userName": "Ann"}
        assert await ann.ask("join", {"room": "r"}, 7) == {
            "event": "joined",
            "data": joined,
            "replyTo": 7,
        }
        assert await ann.ask("say", {"room": "r"}, "8") == {
            "event": "ack",
            "data": {"ok": True},
            "replyTo": "8",
        }
        rejected = await ann.ask("say", {"room": ""}, "9")
        assert rejected["event"] == "error"
        # No other frame carried an id, and nothing else came.
        assert (await ann.ask("ping", request_id="10"))["event"] == "pong"

        assert await bob.ask("say", {"room": "r"}) == {"ok": True}
        await bob.conversation.send('421["join",{"room":"r"}]')
        assert (await bob.receive()).startswith('42["joined"')
        assert await bob.receive() == '431[{"ok":true}]'
        assert await bob.ask("say", {}) == {"ok": False, "error": "Invalid payload"}


async def test_unknown_event_is_ignored_but_for_a_plain_frame_with_an_id(autojump_clock):
    async with open_live() as live, live.plain(ANN) as ann, live.socketio(BOB) as bob:
        await ann.send("nothing", {"a": 1})
        error = {"message": "Unknown event", "code": "NOT_FOUND", "event": "nothing"}
        assert (await ann.ask("nothing"))["data"] == error
        assert await ann.conversation.send('{"event":"ping"}') is None
        await ann.expect("pong")
        await bob.send("nothing", {"a": 1})
        await bob.send_raw('421["nothing"]')  # as on Node, no acknowledgement
        await bob.send("join", {"room": "r"})
        await bob.expect("joined")


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ((), "room"),
        ((None,), "room"),
        (("text",), "data"),
        (([{"room": "r"}],), "data"),
        ((7,), "data"),
        (({},), "room"),
        (({"room": 7},), "room"),
        (({"room": ""},), "room"),
        (({"room": "r" * 129},), "room"),
        (({"room": None},), "room"),
        (({"room": "r", "text": 1},), "text"),
        (({"room": "r", "text": "a\0b"},), "data"),
        (({"room": "r", "deep": [{"a\0": 1}]},), "data"),
    ],
)
async def test_a_payload_that_breaks_the_schema_names_the_field(autojump_clock, payload, field):
    def check(error: dict[str, Any]) -> None:
        (broken,) = error.pop("fields")
        assert broken["field"] == field
        assert broken["rule"].startswith(("must ", "is required"))
        assert error == {
            "message": "Invalid payload",
            "code": "VALIDATION_ERROR",
            "event": "join",
            "field": field,
        }

    async with open_live() as live, live.plain(ANN) as ann, live.socketio(BOB) as bob:
        await ann.send("join", *payload)
        check(await ann.expect("error"))
        await bob.send("join", *payload)
        check(await bob.expect("error"))
        assert not live.hub.members("r")


async def test_invalid_payload_names_every_field_and_the_rule_it_breaks(autojump_clock):
    payload = {"room": "", "text": "x" * 2001}
    async with open_live() as live, live.plain(ANN) as ann, live.socketio(BOB) as bob:
        await ann.send("join", payload)
        await bob.send("join", payload)
        for client in (ann, bob):
            error = await client.expect("error")
            assert error["field"] == "room"
            assert error["fields"] == [
                {"field": "room", "rule": "must have at least 1 characters"},
                {"field": "text", "rule": "must have at most 2000 characters"},
            ]


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("pizza \\ud83c", "pizza \N{REPLACEMENT CHARACTER}"),
        ("\\ud83c\\udf55", "\N{SLICE OF PIZZA}"),
    ],
)
async def test_half_a_surrogate_pair_is_read_as_the_replacement_character(
    autojump_clock, sent, read
):
    async with open_live() as live, live.plain(ANN) as ann, live.socketio(BOB) as bob:
        await ann.send_raw(f'{{"event":"join","data":{{"room":"{sent}"}}}}')
        assert (await ann.expect("joined"))["room"] == read
        await bob.send_raw(f'421["join",{{"room":"{sent}"}}]')
        assert (await bob.expect("joined"))["room"] == read
        assert await bob.receive() == '431[{"ok":true}]'


TOO_DEEP = "[" * 65 + "]" * 65
DEPTH = "The JSON is nested more than 64 levels deep"
OVER_LIMIT = {
    "depth": (
        [f'427["join",{{"room":{TOO_DEEP}}}]'],
        DEPTH,
    ),
    "depth of an attachment's packet": (
        [f'4511-7["join",{TOO_DEEP}]', *[b"x"] * 11],
        DEPTH,
    ),
    "attachments": (['4511-7["join"]', *[b"x"] * 11], "Packet has more than 10 attachments"),
    "text": (['427["join","' + "x" * 1_000_000 + '"]'], "Packet is larger than 1000000 bytes"),
    "attachment": (
        ['451-7["join",{"_placeholder":true,"num":0}]', b"x" * 1_000_001],
        "Attachment is larger than 1000000 bytes",
    ),
}


@pytest.mark.parametrize("name", OVER_LIMIT)
async def test_socketio_packet_over_a_limit_gets_an_error_and_the_connection_stays_open(
    autojump_clock, name
):
    packets, reason = OVER_LIMIT[name]
    async with open_live() as live, live.socketio(BOB) as bob:
        await bob.send_raw(*packets)
        error = await bob.expect("error")
        assert error["message"] == reason
        assert error["code"] == ("INVALID_JSON" if reason == DEPTH else "PAYLOAD_TOO_LARGE")
        response = {"ok": False, "error": reason}
        assert json.loads((await bob.receive()).removeprefix("437")) == [response]
        await bob.send("join", {"room": "r"})
        await bob.expect("joined")


async def test_packets_over_a_limit_count_against_the_limit_of_events(autojump_clock):
    async with open_live(SOCKET_EVENTS_PER_SECOND="1") as live, live.socketio(BOB) as bob:
        await bob.send_raw(*[f'42["join",{TOO_DEEP}]'] * 13)
        messages = [(await bob.expect("error"))["message"] for _ in range(12)]
        assert messages[2:] == ["Rate limit exceeded"] * 10
        assert await bob.receive() == "41"


@pytest.mark.parametrize("levels", [65, 5_000])
async def test_plain_frame_that_is_too_deep_gets_an_error_and_the_connection_stays_open(
    autojump_clock, levels
):
    async with open_live() as live, live.plain(ANN) as ann:
        for _ in range(4):
            await ann.send_raw('{"event":"join","data":' + "[" * levels + "]" * levels + "}")
            assert await ann.expect("error") == {
                "message": DEPTH,
                "code": "INVALID_JSON",
            }
        assert (await ann.ask("join", {"room": "r"}))["event"] == "joined"


async def test_a_null_for_an_optional_field_is_absent_and_unknown_keys_are_ignored(autojump_clock):
    async with open_live() as live, live.plain(ANN) as ann:
        await ann.send("join", {"room": "r", "text": None, "more": [1]})
        await ann.expect("joined")


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (RuntimeError("secret"), {"message": "Internal error", "code": "INTERNAL_ERROR"}),
        (
            ExceptionGroup("two", [ValueError(), KeyError()]),
            {"message": "Internal error", "code": "INTERNAL_ERROR"},
        ),
        (NotFound("Recipe not found"), {"message": "Recipe not found", "code": "NOT_FOUND"}),
        (
            InsufficientPermissions("Only session host can update cooking steps"),
            {
                "message": "Only session host can update cooking steps",
                "code": "INSUFFICIENT_PERMISSIONS",
            },
        ),
        (
            ValidationError.of("newStep", "is beyond the end"),
            {
                "message": "Invalid payload",
                "code": "VALIDATION_ERROR",
                "field": "newStep",
                "fields": [{"field": "newStep", "rule": "is beyond the end"}],
            },
        ),
        (
            RateLimited(retry_after=7),
            {"message": "Rate limit exceeded", "code": "RATE_LIMIT_ERROR", "retryAfter": 7},
        ),
    ],
)
async def test_failure_sends_an_error_and_closes_nothing(autojump_clock, failure, error):
    async with open_live() as live, live.plain(ANN) as ann, live.socketio(BOB) as bob:
        live.failures["r"] = failure
        expected = {**error, "event": "fail"}
        assert (await ann.ask("fail", {"room": "r"}))["data"] == expected
        await bob.send("fail", {"room": "r"})
        assert await bob.expect("error") == expected
        assert await bob.ask("fail", {"room": "r"}) == {"ok": False, "error": error["message"]}
        await bob.send("join", {"room": "r"})
        assert (await ann.ask("join", {"room": "r"}))["event"] == "joined"


async def test_a_fault_is_logged_and_reported_without_what_the_client_sent(autojump_clock):
    async with open_live() as live, live.plain(ANN) as ann:
        live.failures["r"] = RuntimeError("a bug")
        await ann.ask("fail", {"room": "r", "text": "my secret"})
        ((error, request),) = live.reports.captured
        assert error is live.failures["r"]
        assert request is not None
        assert (request.method, request.path, request.user_id) == ("plain", "fail", str(ANN.id))
        (line,) = [line for line in live.log if line["level"] == "ERROR"]
        assert (line["userId"], line["socketEvent"]) == (str(ANN.id), "fail")
        assert line["socketId"]
        live.failures["r"] = NotFound()
        await ann.ask("fail", {"room": "r"})
        assert len(live.reports.captured) == 1
        assert "my secret" not in live.written.getvalue()


async def test_response_that_cannot_be_encoded_is_an_error_of_the_handler(autojump_clock):
    async with open_live() as live, live.plain(ANN) as ann, live.socketio(BOB) as bob:
        assert (await ann.ask("unspeakable", {"room": "r"}))["data"]["code"] == "INTERNAL_ERROR"
        assert await bob.ask("unspeakable", {"room": "r"}) == {
            "ok": False,
            "error": "Internal error",
        }


async def test_a_handler_has_the_bound_of_a_request(autojump_clock):
    async with (
        open_live(REQUEST_TIMEOUT_SECONDS="3") as live,
        live.plain(ANN) as ann,
        live.socketio(BOB) as bob,
    ):
        began = trio.current_time()
        error = (await ann.ask("wait", {"room": "100"}))["data"]
        assert trio.current_time() - began == 3
        assert error["code"] == "DEADLINE_EXCEEDED"
        response = await bob.ask("wait", {"room": "100"})
        assert trio.current_time() - began == 6
        assert response == {"ok": False, "error": error["message"]}


async def test_events_of_one_connection_are_handled_in_order(autojump_clock):
    async with open_live() as live, live.plain(ANN) as ann:
        for seconds in ("3", "1", "2"):
            await ann.send("wait", {"room": seconds}, id=seconds)
        responses = [(await ann.receive())["replyTo"] for _ in range(3)]
        assert responses == ["3", "1", "2"]
        assert trio.current_time() == 6


async def test_a_user_has_a_quota_over_all_connections(autojump_clock):
    async with (
        open_live(SOCKET_EVENTS_PER_SECOND="5") as live,
        live.plain(ANN) as phone,
        live.socketio(ANN) as tablet,
        live.plain(BOB) as bob,
    ):
        for _ in range(5):
            await phone.ask("say", {"room": "r"})
            await tablet.ask("say", {"room": "r"})
        rejected = {
            "message": "Rate limit exceeded",
            "code": "RATE_LIMIT_ERROR",
            "event": "say",
            "retryAfter": 2,
        }
        assert (await phone.ask("say", {"room": "r"}))["data"] == rejected
        response = await tablet.ask("say", {"room": "r"})
        assert response == {"ok": False, "error": "Rate limit exceeded"}
        assert (await bob.ask("say", {"room": "r"}))["event"] == "ack"
        await trio.sleep(2.1)
        assert (await phone.ask("say", {"room": "r"}))["event"] == "ack"


async def test_an_event_may_have_a_quota_of_its_own(autojump_clock):
    async with open_live(SOCKET_BROADCASTS_PER_MINUTE="2") as live, live.plain(ANN) as ann:
        for _ in range(2):
            assert (await ann.ask("shout", {"room": "r"}))["event"] == "ack"
        rejected = await ann.ask("shout", {"room": "r"})
        assert rejected["data"]["message"] == "Rate limit exceeded"
        assert (await ann.ask("say", {"room": "r"}))["event"] == "ack"
        await trio.sleep(60)
        assert (await ann.ask("shout", {"room": "r"}))["event"] == "ack"


@pytest.mark.parametrize("frame", ['{"event":"ping"}', '{"event":7}', '{"event":"nothing"}'])
async def test_ten_rejections_in_a_row_close_the_connection(autojump_clock, frame):
    async with open_live(SOCKET_EVENTS_PER_SECOND="1") as live, live.plain(ANN) as ann:
        for _ in range(11):
            await ann.send_raw(frame)
        with trio.fail_after(1):
            while (await ann.receive())["data"].get("message") != "Rate limit exceeded":
                pass
        await trio.sleep(2)
        for _ in range(2):  # within the limits again: counting starts anew
            await ann.ask("say", {"room": "r"})
        for _ in range(10):
            await ann.send("say", {"room": "r"})
        for _ in range(10):
            assert (await ann.expect("error"))["message"] == "Rate limit exceeded"
        with pytest.raises(Closed) as closed:
            await ann.receive()
        assert closed.value.code == 4429


async def test_limits_that_a_feature_counts_end_the_connection_too(autojump_clock):
    async with open_live() as live, live.plain(ANN) as ann:
        live.failures["full"] = RateLimited(retry_after=7)
        for _ in range(9):
            assert (await ann.ask("fail", {"room": "full"}))["data"]["retryAfter"] == 7
        await ann.ask("say", {"room": "r"})
        for _ in range(10):
            await ann.send("fail", {"room": "full"})
        for _ in range(10):
            assert (await ann.expect("error"))["message"] == "Rate limit exceeded"
        assert await ann.close_code() == 4429


async def test_others_see_the_name_of_the_profile(autojump_clock):
    names = {ANN.id: "Anna", BOB.id: None}

    async def name_of(user_id):
        if user_id not in names:
            raise ServiceUnavailable()
        return names[user_id]

    async with open_live(name_of=name_of) as live:
        eve, quiet = ApiUser(name="Eve"), ApiUser(name="")
        names[quiet.id] = str(quiet.id)  # as an account begins whose owner gave no name
        for person, name in ((ANN, "Anna"), (BOB, "Bob"), (eve, "Eve"), (quiet, "CookCam user")):
            async with live.plain(person) as client:
                joined = await client.ask("join", {"room": "r"})
                assert joined["data"]["userName"] == name
                await client.ask("authenticate", {"token": live.token(person)})
                joined = await client.ask("join", {"room": "r"})
                assert joined["data"]["userName"] == name


async def test_unavailable_profile_name_does_not_block_a_connection(autojump_clock):
    async def name_of(user_id):
        await trio.sleep_forever()

    async with open_live(name_of=name_of) as live, live.plain(ANN) as ann:
        assert (await ann.ask("join", {"room": "r"}))["data"]["userName"] == "Ann"


async def test_socketio_client_over_its_limits_is_disconnected_without_reconnect(
    autojump_clock,
):
    async with open_live(SOCKET_EVENTS_PER_SECOND="1") as live, live.socketio(ANN) as ann:
        for _ in range(12):
            await ann.send("say", {"room": "r"})
        for _ in range(10):
            assert (await ann.expect("error"))["message"] == "Rate limit exceeded"
        assert await ann.receive() == "41"
        assert await ann.close_code() == 4429


async def test_disconnect_handlers_of_features_are_called(autojump_clock):
    async with open_live() as live:
        async with live.plain(ANN) as ann, live.socketio(BOB) as bob:
            await ann.ask("join", {"room": "a"})
            await bob.ask("join", {"room": "b"})
            await ann.leave()
            await bob.leave()
            await trio.sleep(1)
        assert live.departures == [
            (ANN.id, {"a"}, "transport close"),
            (BOB.id, {"b"}, "transport close"),
        ]
        assert live.hub.connection_count() == 0


async def test_event_handlers_finish_before_the_disconnect_handler(autojump_clock):
    async with open_live() as live, live.plain(ANN) as ann, live.socketio(BOB) as bob:
        await ann.send("join", {"room": "a"})
        await ann.send("wait", {"room": "3"})
        await bob.send("join", {"room": "b"})
        await bob.send("wait", {"room": "3"})
        await trio.sleep(1)
        await ann.conversation.disconnect()
        await bob.conversation.disconnect()
        await trio.sleep(1)
        assert live.hub.send_to_user(ANN.id, "x", {}) == 0
        assert live.hub.send_to_user(BOB.id, "x", {}) == 0
        assert live.departures == []
        await trio.sleep(1.5)
        assert len(live.departures) == 2


def test_a_name_is_registered_once():
    class Payload(msgspec.Struct):
        number: Annotated[int, msgspec.Meta(ge=0)] = 0

    events = Events("samples")

    async def handler(caller: Connection, data: Payload) -> None: ...

    events.on("once", Payload)(handler)
    for name in ("once", "connect", "disconnect", "connect_error", "ping"):
        with pytest.raises(ValueError, match=name):
            events.on(name, Payload)(handler)


async def test_two_features_cannot_have_the_same_event(autojump_clock):
    async with open_live() as live:
        events = Events("other")

        @events.on("join", Note)
        async def join(caller: Connection, data: Note) -> None: ...

        with pytest.raises(ValueError, match="join"):
            live.realtime.include(events)


async def test_messages_are_counted_by_known_names_only(autojump_clock):
    async with open_live() as live, live.plain(ANN) as ann, live.socketio(BOB) as bob:
        await ann.ask("say", {"room": "r"})
        await ann.ask("made-up")
        await bob.ask("say", {"room": "r"})
        text = live.metrics.render().decode()
    assert 'ws_messages_total{event="say",protocol="plain"} 1.0' in text
    assert 'ws_messages_total{event="other",protocol="plain"} 1.0' in text
    assert 'ws_messages_total{event="say",protocol="socket.io"} 1.0' in text
    assert 'ws_connections{protocol="plain"} 1.0' in text
    assert 'ws_connects_total{protocol="socket.io"} 1.0' in text
    assert "made-up" not in text
