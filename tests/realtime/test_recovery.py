"""Recovery of events to rooms, users and all; on the virtual clock."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from tests.support.realtime import ApiUser, Live, SocketIO, open_live

ANN, BOB = ApiUser(name="Ann"), ApiUser(name="Bob")
Event = list[Any]


async def event(client: SocketIO) -> Event:
    return json.loads((await client.receive())[2:])


async def connect_socket(
    live: Live, client: SocketIO, person: ApiUser, **auth: Any
) -> dict[str, Any]:
    await client.send_raw(f"40{json.dumps({'token': live.token(person), **auth})}")
    response = await client.receive()
    assert response.startswith("40"), response
    return json.loads(response[2:])


@asynccontextmanager
async def away(live: Live, person: ApiUser = ANN) -> AsyncIterator[tuple[dict[str, Any], str]]:
    """Yields the ids and last offset of a disconnected client that was in the room `kitchen`."""
    async with live.socketio_session() as client:
        ids = await connect_socket(live, client, person, recover=True)
        assert (await event(client))[0] == "connected"
        await client.send("join", {"room": "kitchen"})
        name, _, offset = await event(client)
        assert name == "joined"
        await client.leave()
    await trio.testing.wait_all_tasks_blocked()
    assert not live.hub.connections_of(person.id)
    yield ids, offset


async def test_missed_events_of_all_kinds_are_replayed(autojump_clock):
    async with open_live() as live, live.plain(BOB) as bob, away(live) as (ids, offset):
        hub = live.hub
        hub.send_to_room("kitchen", "room", {"n": 1})
        hub.send_to_user(ANN.id, "user", {"n": 2})
        hub.broadcast("all", {"n": 3})
        hub.broadcast("all but ann", {}, [ANN.id])
        hub.broadcast("all but bob", {}, [BOB.id])
        hub.send_to_user(BOB.id, "bob", {})
        hub.send_to_room("cellar", "cellar", {})
        hub.broadcast("status", {}, volatile=True)
        assert await bob.expect("all") == {"n": 3}
        async with live.socketio_session() as client:
            assert await connect_socket(live, client, ANN, recover=True, **back(ids, offset)) == ids
            missed = [await event(client) for _ in range(5)]
            assert [name for name, *_ in missed] == [
                "room",
                "user",
                "all",
                "all but bob",
                "connected",
            ]
            assert [data for _, data, _ in missed[:3]] == [{"n": 1}, {"n": 2}, {"n": 3}]
            # It is in the room again, and every event still has an offset of its own.
            await bob.send("say", {"room": "kitchen", "text": "hi"})
            name, data, last = await event(client)
            assert (name, data["text"]) == ("said", "hi")
            assert len({offset for *_, offset in missed} | {last}) == 6


def back(ids: dict[str, Any], offset: str) -> dict[str, str]:
    return {"pid": ids["pid"], "offset": offset}


async def test_all_recoverable_receivers_of_an_event_get_the_same_text(autojump_clock):
    async with (
        open_live() as live,
        live.socketio_session() as one,
        live.socketio_session() as two,
        live.socketio(BOB) as other,
    ):
        for client in (one, two):
            await connect_socket(live, client, ANN, recover=True)
            await event(client)
        assert live.hub.broadcast("x", {"n": 1}) == 3
        text = await one.receive()
        assert await two.receive() == text
        assert len(json.loads(text[2:])) == 3
        assert await other.receive() == '42["x",{"n":1}]'


async def test_nothing_is_recorded_while_no_client_can_recover(autojump_clock):
    async with open_live() as live, live.socketio(ANN):
        replay = live.realtime.hub.replay
        live.hub.broadcast("x", {})
        assert not replay._events
        async with away(live, BOB):
            live.hub.broadcast("x", {})
            assert replay._events
            await trio.sleep(121)
            live.hub.broadcast("x", {})
            assert not replay._events
    async with open_live(SOCKET_RECOVERY_SECONDS="0") as live, live.socketio_session() as client:
        assert set(await connect_socket(live, client, ANN, recover=True)) == {"sid"}


async def test_a_return_needs_a_token_of_the_same_user(autojump_clock):
    async with open_live() as live:
        for token, message in (
            (live.token(BOB), "Authentication failed"),
            (live.token(ANN, -100), "Invalid or expired token"),
        ):
            async with away(live) as (ids, offset), live.socketio_session() as client:
                returning = {"token": token, "recover": True, **back(ids, offset)}
                await client.send_raw(f"40{json.dumps(returning)}")
                assert await client.receive() == f'44{{"message":"{message}"}}'
            assert live.hub.connection_count() == 0


async def test_user_removed_from_a_room_meanwhile_starts_anew(autojump_clock):
    async with open_live() as live, away(live) as (ids, offset):
        live.hub.empty_room("kitchen", ANN.id)
        live.hub.send_to_room("kitchen", "secret", {})
        async with live.socketio_session() as client:
            new = await connect_socket(live, client, ANN, recover=True, **back(ids, offset))
            assert new["sid"] != ids["sid"]
            assert (await event(client))[0] == "connected"
            assert not live.hub.members("kitchen")


async def test_recovery_is_rejected_when_a_handler_fails(autojump_clock):
    async with open_live() as live, away(live) as (ids, offset):
        live.failures["kitchen"] = RuntimeError("a bug")
        async with live.socketio_session() as client:
            returning = {"token": live.token(ANN), "recover": True, **back(ids, offset)}
            await client.send_raw(f"40{json.dumps(returning)}")
            assert await client.receive() == '44{"message":"Authentication failed"}'
        assert live.hub.connection_count() == 0
        assert live.reports.captured


async def test_recovery_ends_the_previous_connection(autojump_clock):
    async with open_live() as live, live.socketio_session() as client:
        ids = await connect_socket(live, client, ANN, recover=True)
        *_, offset = await event(client)
        live.hub.send_to_user(ANN.id, "lost on the way", {})
        async with live.socketio_session() as again:
            assert await connect_socket(live, again, ANN, recover=True, **back(ids, offset)) == ids
            assert (await event(again))[0] == "lost on the way"
            assert (await event(again))[0] == "connected"
            assert live.hub.send_to_user(ANN.id, "live", {}) == 1
            assert live.hub.connection_count() == 1
            assert (await event(again))[0] == "live"
