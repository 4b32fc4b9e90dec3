"""Who is let in: tokens, addresses, origins, over both protocols."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from cookcam.errors import ServiceUnavailable
from cookcam.http.request_info import STATE_KEY, RequestInfo
from cookcam.lifecycle.state import Phase
from tests.identity.signers import signer
from tests.support.asgi import Closed, RequestRejected, request
from tests.support.realtime import SOCKETIO_PATH, ApiUser, Live, open_live

ANN = ApiUser()
EMAIL = f"{ANN.id}@example.com"


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def forged(live: Live) -> str:
    """All is right but the signature."""
    stranger = signer("ES256", "stranger").sign({"sub": str(ANN.id)})
    return ".".join([*live.token(ANN).split(".")[:2], stranger.rpartition(".")[2]])


BAD_TOKENS = {
    "malformed": lambda live: "not a token",
    "expired": lambda live: live.token(ANN, -11),
    "foreign": lambda live: live.token(ANN, iss="https://elsewhere.example/auth/v1"),
    "for another audience": lambda live: live.token(ANN, aud="anon"),
    "forged": forged,
    "endless": lambda live: "x" * 10_000,
}
each_bad_token = pytest.mark.parametrize("bad", BAD_TOKENS.values(), ids=BAD_TOKENS)


async def connect_socketio(live: Live, auth: Any = None, **options: Any) -> dict[str, Any]:
    """Connects a Socket.IO client; returns the `connect_error` or the data of `connected`."""
    async with live.socketio_session(**options) as client:
        await client.send_raw("40" if auth is None else f"40{json.dumps(auth)}")
        response = await client.receive()
        if response.startswith("44"):
            return {"connect_error": json.loads(response[2:])}
        return await client.expect("connected")


# -- good tokens


async def test_valid_token_is_accepted_over_both_protocols(autojump_clock):
    async with open_live() as live:
        token = live.token(ANN)
        received = [
            await connect_socketio(live, {"token": token}),
            await connect_socketio(live, headers=bearer(token)),
            await connect_socketio(live, {"token": ""}, headers=bearer(token)),
        ]
        async with live.plain_socket(headers=bearer(token)) as client:
            received.append(await client.expect("connected"))
        async with live.plain_socket() as client:
            await client.send("authenticate", {"token": token})
            received.append(await client.expect("connected"))
        for data in received:
            assert data.pop("timestamp").endswith("Z")
            assert data == {
                "message": "Connected to CookCam real-time service",
                "userId": str(ANN.id),
            }


async def test_the_token_in_auth_comes_before_the_one_in_the_header(autojump_clock):
    bob = ApiUser()
    async with open_live() as live:
        auth = {"token": live.token(ANN)}
        received = await connect_socketio(live, auth, headers=bearer(live.token(bob)))
        assert received["userId"] == str(ANN.id)


async def test_first_frame_with_an_id_gets_a_response(autojump_clock):
    async with open_live() as live, live.plain_socket() as client:
        await client.send("authenticate", {"token": live.token(ANN, 600)}, id=1)
        await client.expect("connected")
        response = await client.receive()
        assert (response["event"], response["replyTo"]) == ("authenticated", 1)
        assert response["data"]["expiresAt"].endswith("Z")


async def test_offered_subprotocol_is_echoed():
    for offered, chosen in ((["other", "cookcam.v1"], "cookcam.v1"), (["other"], None), ([], None)):
        sent: list[Any] = []
        async with open_live() as live:
            headers = [(b"authorization", f"Bearer {live.token(ANN)}".encode())]
            await exchange(live, sent, subprotocols=offered, headers=headers)
        assert sent[0] == {"type": "websocket.accept", "subprotocol": chosen}


async def exchange(live: Live, sent: list[Any], **scope: Any) -> None:
    """A plain handshake whose client leaves at once."""
    incoming = [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1005}]

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    whole = {
        "type": "websocket",
        "path": "/api/v1/realtime",
        "query_string": b"",
        "headers": [],
        "client": None,
        "extensions": {"websocket.http.response": {}},
        **scope,
    }
    await live.realtime(whole, receive, send)


# -- bad tokens


@each_bad_token
async def test_a_bad_token_over_socketio(autojump_clock, bad):
    async with open_live() as live:
        received = await connect_socketio(live, {"token": bad(live)})
        assert received == {"connect_error": {"message": "Invalid or expired token"}}
        assert live.hub.connection_count() == 0


@each_bad_token
async def test_a_bad_token_in_the_header_of_a_plain_upgrade(autojump_clock, bad):
    async with open_live() as live:
        with pytest.raises(RequestRejected) as rejected:
            async with live.plain_socket(headers=bearer(bad(live))):
                pass
        response = rejected.value.response
        assert response.status == 401
        body = response.json()
        assert body["error"] == "Token expired or invalid"
        assert body["code"] == "TOKEN_EXPIRED"
        assert body["message"] == "Please refresh your session"


@each_bad_token
async def test_a_bad_token_in_the_first_frame(autojump_clock, bad):
    async with open_live() as live, live.plain_socket() as client:
        await client.send("authenticate", {"token": bad(live)}, id="7")
        assert await client.receive() == {
            "event": "connect_error",
            "data": {"message": "Invalid or expired token"},
            "replyTo": "7",
        }
        assert await client.close_code() == 4401


@pytest.mark.parametrize("auth", [None, {}, {"token": None}, {"token": ""}, {"other": 1}])
async def test_no_token_over_socketio(autojump_clock, auth):
    async with open_live() as live:
        received = await connect_socketio(live, auth, headers={"authorization": "Basic abc"})
        assert received == {"connect_error": {"message": "Authentication token required"}}


@pytest.mark.parametrize("token", [7, ["x"], {"a": 1}, True])
async def test_a_token_that_is_no_text_is_invalid(autojump_clock, token):
    async with open_live() as live, live.plain_socket() as client:
        received = await connect_socketio(live, {"token": token})
        assert received == {"connect_error": {"message": "Invalid or expired token"}}
        await client.send("authenticate", {"token": token})
        assert await client.expect("connect_error") == {"message": "Invalid or expired token"}


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"authorization": "Basic abc"}, ""),
        ({"authorization": "Bearer "}, ""),
        ({}, "token=abc"),
        ({"authorization": "Bearer good"}, "access_token=abc"),
    ],
)
async def test_an_upgrade_without_a_usable_token(autojump_clock, headers, query):
    async with open_live() as live:
        with pytest.raises(RequestRejected) as rejected:
            async with live.plain_socket(headers=headers, query=query):
                pass
        assert rejected.value.response.status == 401
        assert rejected.value.response.json()["error"] == "Authentication required"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ('{"event":"join","data":{"room":"r"}}', 4401),
        ('{"event":"authenticate"}', 4401),
        ('{"event":"authenticate","data":null}', 4401),
        ('{"event":"authenticate","data":"text"}', 4401),
        ("{", 4401),
        ("{}", 4401),
        ("[]", 4401),
        (b"binary", 1003),
        ("x" * 65_537, 1009),
    ],
)
async def test_a_first_frame_that_does_not_authenticate(autojump_clock, frame, code):
    async with open_live() as live, live.plain_socket() as client:
        await client.send_raw(frame)
        if code == 4401:
            await client.expect("connect_error")
        assert await client.close_code() == code
        assert live.hub.connection_count() == 0


async def test_socket_without_a_first_frame_is_closed_after_five_seconds(autojump_clock):
    async with open_live() as live, live.plain_socket() as client:
        assert await client.close_code() == 4408
        assert trio.current_time() == 5


async def test_disconnect_before_the_first_frame_leaves_no_state(autojump_clock):
    async with open_live() as live, live.plain_socket() as client:
        with trio.fail_after(1):
            await client.leave()
        assert live.departures == []


async def test_a_client_that_connects_to_no_namespace_is_closed_after_45_seconds(autojump_clock):
    async with open_live() as live, live.socketio_session() as client:
        with pytest.raises(Closed):
            await client.receive()
        assert trio.current_time() == 45


# -- undecided


async def test_an_outage_of_the_provider_is_no_verdict_on_the_token(autojump_clock):
    async with open_live() as live:
        live.provider.failure = ServiceUnavailable()
        received = await connect_socketio(live, {"token": live.token(ANN)})
        assert received == {"connect_error": {"message": "Authentication failed"}}
        with pytest.raises(RequestRejected) as rejected:
            async with live.plain_socket(headers=bearer(live.token(ANN))):
                pass
        assert rejected.value.response.status == 503
        async with live.plain_socket() as client:
            await client.send("authenticate", {"token": live.token(ANN)})
            assert await client.expect("connect_error") == {"message": "Authentication failed"}
            # Not 4401: the token need not be thrown away.
            assert await client.close_code() == 1011


# -- limits


def from_address(live: Live, address: str) -> Any:
    """The channel behind an edge that found this client address."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        facts = RequestInfo("", address, "GET", scope["path"], 0.0)
        scope["state"] = {STATE_KEY: facts}
        await live.realtime(scope, receive, send)

    return app


async def test_handshakes_are_limited_by_client_address(autojump_clock):
    async def handshake(address: str) -> int:
        response = await request(
            from_address(live, address), "GET", SOCKETIO_PATH, "EIO=4&transport=polling"
        )
        return response.status

    async with open_live(SOCKET_HANDSHAKES_PER_MINUTE="3") as live:
        assert [await handshake("192.0.2.7") for _ in range(4)] == [200, 200, 200, 429]
        assert await handshake("192.0.2.8") == 200
        assert [await handshake(f"2001:db8::{n}") for n in range(4)] == [200, 200, 200, 429]
        await trio.sleep(60)
        assert await handshake("192.0.2.7") == 200


async def test_handshakes_are_not_limited_where_rate_limiting_is_off(autojump_clock):
    settings = {"ENABLE_RATE_LIMITING": "false", "SOCKET_HANDSHAKES_PER_MINUTE": "1"}
    async with open_live(**settings) as live:
        for _ in range(5):
            response = await request(live.realtime, "GET", SOCKETIO_PATH, "EIO=4&transport=polling")
            assert response.status == 200
            async with live.plain_socket():
                pass


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("EIO=4&transport=carrier", 0, "Transport unknown"),
        ("EIO=4&transport=polling&sid=unknown", 1, "Session ID unknown"),
        ("EIO=3&transport=polling", 5, "Unsupported protocol version"),
        ("&".join(f"q{n}=" for n in range(100)), 3, "Bad request"),
    ],
)
async def test_rejected_handshake_is_an_error_envelope_with_the_code_of_engineio(
    query, code, message, autojump_clock
):
    async with open_live() as live:
        response = await request(live.realtime, "GET", SOCKETIO_PATH, query)
        body = response.json()
        assert (response.status, body["statusCode"]) == (400, 400)
        assert (body["code"], body["message"], body["error"]) == (code, message, "BAD_REQUEST")
        assert body["path"] == SOCKETIO_PATH
        assert {"requestId", "timestamp"} <= body.keys()


async def test_both_protocols_share_the_limit_of_handshakes(autojump_clock):
    async with (
        open_live(SOCKET_HANDSHAKES_PER_MINUTE="2") as live,
        live.plain_socket(),
        live.socketio_session(),
    ):
        with pytest.raises(RequestRejected) as rejected:
            async with live.plain_socket():
                pass
        assert rejected.value.response.status == 429
        assert rejected.value.response.headers["retry-after"] == "60"
        assert rejected.value.response.json()["code"] == "RATE_LIMIT_ERROR"
        with pytest.raises(RequestRejected) as rejected:
            async with live.socketio_session():
                pass
        assert rejected.value.response.status == 429
        assert rejected.value.response.headers["retry-after"] == "60"


async def test_a_peer_without_an_address_is_limited_like_any_other(autojump_clock):
    async with open_live(SOCKET_HANDSHAKES_PER_MINUTE="1") as live:
        for expected in ("websocket.accept", "websocket.http.response.start"):
            sent: list[Any] = []
            await exchange(live, sent)
            assert sent[0]["type"] == expected


async def test_one_connection_too_many_ends_the_oldest(autojump_clock):
    async with (
        open_live(SOCKET_MAX_PER_USER="2") as live,
        live.socketio(ANN) as first,
        live.plain(ANN) as second,
        live.plain(ANN) as third,
    ):
        assert await first.receive() == "41"
        assert await first.close_code() == 4409
        async with live.socketio(ANN) as fourth:
            assert await second.close_code() == 4409
            assert live.hub.send_to_user(ANN.id, "x", {}) == 2
            await third.expect("x")
            await fourth.expect("x")
        assert live.realtime.connected_users() == 1


# -- origins, and the switch


@pytest.mark.parametrize("which", ["plain_socket", "socketio_session"])
async def test_upgrade_from_an_unlisted_origin_is_rejected(autojump_clock, which):
    async with open_live(CORS_ORIGIN="https://cookcam.ai") as live:
        for origin in ("https://evil.example", "null", "https://cookcam.ai.evil.example"):
            with pytest.raises(RequestRejected) as rejected:
                async with getattr(live, which)(headers={"origin": origin}):
                    pass
            assert rejected.value.response.status == 403
        for origin in ("https://cookcam.ai", "http://testserver"):
            async with getattr(live, which)(headers={"origin": origin}):
                pass


async def test_disabled_service_responds_404(autojump_clock):
    async with open_live(ENABLE_WEBSOCKETS="false") as live:
        assert live.realtime.status == "disabled"
        response = await request(live.realtime, "GET", SOCKETIO_PATH, "EIO=4&transport=polling")
        assert (response.status, response.json()["code"]) == (404, "NOT_FOUND")
        for which in (live.plain_socket, live.socketio_session):
            with pytest.raises(RequestRejected) as rejected:
                async with which():
                    pass
            assert rejected.value.response.status == 404
        await live.shut_down()


async def test_handshakes_are_rejected_during_a_shutdown(autojump_clock):
    async with open_live() as live:
        live.lifecycle.enter(Phase.NOTICE)
        assert live.realtime.status == "draining"
        for which in (live.plain_socket, live.socketio_session):
            with pytest.raises(RequestRejected) as rejected:
                async with which():
                    pass
            assert rejected.value.response.status == 503
        response = await request(live.realtime, "GET", SOCKETIO_PATH, "EIO=4&transport=polling")
        assert response.status == 503


@pytest.mark.parametrize(
    ("kind", "path", "handled"),
    [
        ("http", "/socket.io/", True),
        ("http", "/socket.io", True),
        ("websocket", "/socket.io/", True),
        ("websocket", "/api/v1/realtime", True),
        ("websocket", "/API/v1/realtime/", True),
        ("http", "/api/v1/realtime", False),
        ("websocket", "/elsewhere", False),
        ("http", "/health", False),
        ("http", "/socket.io/x", False),
    ],
)
async def test_what_belongs_to_the_channel(autojump_clock, kind, path, handled):
    async with open_live() as live:
        assert live.realtime.handles({"type": kind, "path": path}) is handled


# -- the log


async def test_the_log_names_user_and_socket_and_no_token(autojump_clock):
    async with open_live() as live:
        good, bad = live.token(ANN), live.token(ANN, -100)
        await connect_socketio(live, {"token": good})
        await connect_socketio(live, {"token": bad})
        async with live.plain_socket() as client:
            await client.send("authenticate", {"token": bad})
            await client.close_code()
        async with live.plain(ANN) as client:
            await client.send("authenticate", {"token": bad})
            await client.expect("error")
            await client.leave()
        written = live.written.getvalue()
        connected = [line for line in live.log if line["message"] == "socket connected"]
        assert {(line["protocol"], line["userId"]) for line in connected} == {
            ("socket.io", str(ANN.id)),
            ("plain", str(ANN.id)),
        }
        assert all(line["socketId"] for line in connected)
        rejected = [line for line in live.log if line["message"] == "socket refused"]
        assert [line["reason"] for line in rejected] == ["Invalid or expired token"] * 2
        for part in (*good.split("."), *bad.split("."), EMAIL):
            assert part not in written
        text = live.metrics.render().decode()
    assert 'ws_auth_failures_total{protocol="socket.io"} 1.0' in text
    assert 'ws_auth_failures_total{protocol="plain"} 1.0' in text
