"""Tokens that end while their owner is connected, on the virtual clock."""

from __future__ import annotations

from datetime import datetime

import pytest
import trio

from tests.support.asgi import Closed
from tests.support.realtime import ApiUser, open_live

ANN, BOB = ApiUser(name="Ann"), ApiUser(name="Bob")


@pytest.mark.parametrize("protocol", ["plain", "socketio"])
async def test_a_connection_is_warned_and_closed_after_the_grace(autojump_clock, protocol):
    # Nothing but the token ends it: the interval of pings is longer than the test.
    async with (
        open_live(SOCKET_PING_INTERVAL_SECONDS="3600") as live,
        getattr(live, protocol)(ANN, 600) as ann,
    ):
        warning = await ann.expect("token_expiring")
        assert trio.current_time() == 540
        expires, closes = (
            datetime.fromisoformat(warning[key]) for key in ("expiresAt", "closesAt")
        )
        assert expires.timestamp() - live.now() == 60
        assert (closes - expires).total_seconds() == 60
        with pytest.raises(Closed) as closed:
            await ann.receive()
        assert closed.value.code == 4401
        assert trio.current_time() == 660
        assert live.hub.connection_count() == 0


@pytest.mark.parametrize("protocol", ["plain", "socketio"])
async def test_a_fresh_token_keeps_the_connection(autojump_clock, protocol):
    async with (
        open_live(SOCKET_PING_INTERVAL_SECONDS="3600") as live,
        getattr(live, protocol)(ANN, 600) as ann,
    ):
        await ann.expect("token_expiring")
        await trio.sleep(100)  # into the grace
        await ann.send("authenticate", {"token": live.token(ANN, 600)})
        response = await ann.expect("authenticated")
        expires = datetime.fromisoformat(response["expiresAt"])
        assert expires.timestamp() == live.now() + 600
        await ann.expect("token_expiring")
        assert trio.current_time() == 640 + 540
        with pytest.raises(Closed) as closed:
            await ann.receive()
        assert closed.value.code == 4401
        assert trio.current_time() == 640 + 660


async def test_fresh_token_updates_the_name(autojump_clock):
    async with open_live() as live, live.plain(ANN) as ann:
        token = live.token(ANN, user_metadata={"name": "Anna"})
        assert (await ann.ask("authenticate", {"token": token}))["event"] == "authenticated"
        response = await ann.ask("join", {"room": "r"})
        assert response["data"]["userName"] == "Anna"


@pytest.mark.parametrize("protocol", ["plain", "socketio"])
async def test_invalid_token_changes_nothing(autojump_clock, protocol):
    async with open_live() as live, getattr(live, protocol)(ANN) as ann:
        for token, message, code in (
            ("nonsense", "Invalid or expired token", "TOKEN_EXPIRED"),
            (live.token(ANN, -100), "Invalid or expired token", "TOKEN_EXPIRED"),
            (live.token(BOB), "The token belongs to another user", "AUTHORIZATION_ERROR"),
        ):
            await ann.send("authenticate", {"token": token})
            error = {"message": message, "code": code, "event": "authenticate"}
            assert await ann.expect("error") == error
        for payload in ({}, {"token": ""}, {"token": 7}):
            await ann.send("authenticate", payload)
            assert (await ann.expect("error"))["field"] == "token"
        (connection,) = live.hub.connections
        assert connection.user_id == ANN.id
        assert connection.user_name == "Ann"


async def test_acknowledgement_is_sent_besides_the_response_event(autojump_clock):
    async with open_live() as live, live.socketio(ANN) as ann:
        assert await ann.ask("authenticate", {"token": live.token(ANN)}) == {"ok": True}
        response = await ann.ask("authenticate", {"token": "nonsense"})
        assert response == {"ok": False, "error": "Invalid or expired token"}


async def test_a_short_token_is_warned_of_at_once(autojump_clock):
    async with open_live() as live, live.plain(ANN, 30) as ann:
        await ann.expect("token_expiring")
        assert trio.current_time() <= 1
        assert await ann.close_code() == 4401
        assert trio.current_time() == 90
