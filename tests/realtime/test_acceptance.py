"""Acceptance tests of the realtime service: at least one test for each requirement.

They use the whole program and a real database, or the virtual clock where time matters.
"""

from __future__ import annotations

import re
import resource
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, field

from tests.identity.project import open_project
from tests.support.asgi import Closed
from tests.support.cooking import CookingProcess
from tests.support.live_clients import (
    LiveClient,
    LiveServer,
    gather,
    open_live_server,
    run_live_server,
    start_session,
)
from tests.support.realtime import (
    PLAIN_PATH,
    SOCKETIO_PATH,
    WEBSOCKET,
    ApiUser,
    Live,
    open_live,
    serving,
)

GONE = "Cooking session not found or inactive"
REJECTED = {"ok": False, "error": GONE}
PATIENT = {
    f"SOCKET_{name}": "10000"
    for name in (
        "MAX_PER_USER",
        "HANDSHAKES_PER_MINUTE",
        "EVENTS_PER_SECOND",
        "BROADCASTS_PER_MINUTE",
        "MESSAGES_PER_SECOND",
        "REACTIONS_PER_MINUTE",
        "COLLAB_REQUESTS_PER_MINUTE",
    )
}
each_protocol = pytest.mark.parametrize("plain", [False, True], ids=["socket.io", "plain"])


@pytest.fixture
async def live(database_url: str) -> AsyncIterator[LiveServer]:
    async with open_live_server(database_url, **PATIENT) as live:
        yield live


# -- each event with no payload, null, a string, an array, a 2 MB string

EVENTS = [
    "create_cooking_session",
    "join_cooking_session",
    "leave_cooking_session",
    "update_cooking_step",
    "cooking_session_message",
    "share_recipe_live",
    "like_live_recipe",
    "comment_live_recipe",
    "share_scan_result",
    "request_recipe_collab",
    "update_cooking_status",
    "authenticate",
]
PAYLOADS: dict[str, tuple[Any, ...]] = {
    "no payload": (),
    "null": (None,),
    "a string": ("text",),
    "an array": ([],),
    "an array of objects": ([{"sessionId": "session_x"}],),
    "a number": (7,),
    "an empty object": ({},),
    "wrong types": ({"sessionId": {}, "shareId": [], "token": 7, "status": None, "title": 1},),
    "a 2 MB string": ("x" * 2_000_000,),
}


@each_protocol
@pytest.mark.parametrize("name", PAYLOADS)
async def test_each_event_with_each_wrong_payload_is_an_error_or_a_close(
    live: LiveServer, plain: bool, name: str
) -> None:
    session_id, bystander = await gather(live)
    ann = await live.connect("Ann", plain=plain)
    for event in EVENTS:
        await ann.send(event, *PAYLOADS[name])
        if name == "a 2 MB string":
            await ann.closed.wait()
            assert close_code(ann) == 1009
            ann = await live.connect(ann.user, plain=plain)
        else:
            error = await ann.expect("error")
            assert (error["message"], error["event"]) == ("Invalid payload", event)
    assert await ann.seen() == []
    # The server is up, and others are where they were.
    await bystander.send("update_cooking_step", {"sessionId": session_id, "newStep": 1})
    assert (await bystander.expect("cooking_step_updated"))["seq"] == 1
    assert await bystander.seen() == []
    assert await live.connections() == 2


def close_code(client: LiveClient) -> int:
    assert client.socket.closed is not None
    return client.socket.closed.code


# -- two devices of one user; close the first


@each_protocol
async def test_two_devices_of_one_user_when_the_first_closes(live: LiveServer, plain: bool) -> None:
    session_id, ann, phone = await gather(live, "Bob", plain=plain)
    tablet = await live.connect(phone.user, plain=not plain)
    await tablet.ask("join_cooking_session", {"sessionId": session_id})
    before = await live.health()
    assert (before["connected_users"], before["connections"]) == (2, 3)

    await live.drop(phone)
    after = await live.health()
    assert (after["connected_users"], after["connections"]) == (2, 2)  # still counted
    requested = {"targetUserId": tablet.id, "recipeId": await live.recipe(ann.user), "message": "?"}
    assert await ann.ask("request_recipe_collab", requested) == {"ok": True}
    assert (await tablet.expect("recipe_collab_request"))["fromUserId"] == ann.id  # reachable
    reported = {"sessionId": session_id, "message": "still here"}
    await tablet.send("cooking_session_message", reported)  # a participant
    assert (await ann.expect("cooking_message"))["seq"] == 2
    assert await ann.seen() == []


# -- host drops for 10 s


async def test_session_continues_when_its_host_reconnects_after_ten_seconds(
    autojump_clock, nursery
) -> None:
    stage = CookingProcess()
    nursery.start_soon(stage.timeouts.run)
    ann, bob = stage.connect(), stage.connect(name="Bob")
    session_id = await stage.create(ann)
    await stage.cooking.join(bob, session_id)
    await stage.disconnect(ann)
    await trio.sleep(10)
    back = stage.connect(ann.user_id)
    session = await stage.cooking.join(back, session_id)
    await trio.sleep(200)
    assert session.seq == stage.store.rows[session_id].seq == 1
    assert stage.store.rows[session_id].is_active
    assert bob.take() == back.take() == []


# -- host leaves


async def test_host_that_leaves_ends_the_session_for_all(live: LiveServer) -> None:
    session_id, ann, bob = await gather(live, "Bob")
    assert await ann.ask("leave_cooking_session", {"sessionId": session_id}) == {"ok": True}
    ended = {"sessionId": session_id, "reason": "Host left the session", "seq": 2}
    assert await ann.expect("cooking_session_ended") == ended
    assert await bob.expect("cooking_session_ended") == ended
    step = {"sessionId": session_id, "newStep": 1}
    message = {"sessionId": session_id, "message": "Hello?"}
    for client in ann, bob:
        assert await client.ask("update_cooking_step", step) == REJECTED
        assert await client.ask("cooking_session_message", message) == REJECTED
        assert await client.ask("join_cooking_session", {"sessionId": session_id}) == REJECTED
        assert await client.ask("leave_cooking_session", {"sessionId": session_id}) == {"ok": True}
        assert set(await client.seen()) == {"error"}
    rows = await live.sql(
        "select is_active, ended_at is not null, end_reason, seq, ("
        "  select count(*) from live_cooking_participants p"
        "  where p.session_id = s.id and p.left_at is null"
        ") from live_cooking_sessions s where id = %(id)s",
        id=session_id,
    )
    assert rows == [(False, True, "Host left the session", 2, 0)]


# -- non-member leave


async def test_leave_of_a_non_member_sends_no_event(live: LiveServer) -> None:
    session_id, ann, bob = await gather(live, "Bob")
    for plain in (False, True):
        eve = await live.connect("Eve", plain=plain)
        await eve.ask("leave_cooking_session", {"sessionId": session_id})
        assert await eve.seen() == []
    assert await ann.seen() == await bob.seen() == []
    again = await live.connect(bob.user, plain=True)
    state = await again.ask("join_cooking_session", {"sessionId": session_id})
    assert (state["seq"], len(state["session"]["participants"])) == (1, 2)


# -- join a private cooking session by id only


async def test_a_private_session_cannot_be_joined_by_its_id_alone(live: LiveServer) -> None:
    ann, eve = await live.connect("Ann"), await live.connect("Eve", plain=True)
    for options in ({}, {"isPublic": False}, {"isPublic": None}):
        created = await start_session(live, ann, **options)
        by_id = {"sessionId": created["session"]["id"]}
        rejected = await eve.ask("join_cooking_session", by_id)
        unknown = await eve.ask("join_cooking_session", {"sessionId": "session_" + "0" * 26})
        assert rejected == unknown
        assert rejected["message"] == GONE
    assert await ann.seen() == []


# -- step -1, totalSteps + 1, "2"


async def test_a_step_that_is_none_is_an_invalid_payload(live: LiveServer) -> None:
    session_id, ann, bob = await gather(live, "Bob")
    for step in (-1, 5, "2", 1.5, None, True):
        await ann.send("update_cooking_step", {"sessionId": session_id, "newStep": step})
        error = await ann.expect("error")
        (broken,) = error.pop("fields")
        assert broken["field"] == "newStep"
        assert broken["rule"].startswith("must be")
        assert error == {
            "message": "Invalid payload",
            "code": "VALIDATION_ERROR",
            "event": "update_cooking_step",
            "field": "newStep",
        }
    for notes in ({"stepNotes": "Low heat"}, {"stepNotes": None}):
        await ann.send("update_cooking_step", {"sessionId": session_id, "newStep": 4, **notes})
    assert (await bob.expect("cooking_step_updated"))["stepNotes"] == "Low heat"
    assert "stepNotes" not in await bob.expect("cooking_step_updated")
    assert await bob.seen() == []


# -- one receiver stops reading during 10 000 broadcasts

FLOOD = 10_000
BODY = "." * 8_192
MAX_GROWTH = 60_000_000
"""Bytes; what is sent to one receiver is more, and two stop reading."""
IN_FLIGHT = 32


@define(eq=False)
class Device:
    """A connected client that reads bytes, as fast as can be: what it got of the flood."""

    stream: trio.SocketStream
    seen: list[int] = field(factory=list)
    tail: bytes = b""

    async def read(self) -> None:
        async for chunk in self.stream:
            self.tail += chunk
            last = 0
            for match in re.finditer(rb'"n":(\d+),', self.tail):
                self.seen.append(int(match[1]))
                last = match.end()
            self.tail = self.tail[max(last, len(self.tail) - 64) :]

    @property
    def close_reason(self) -> tuple[int, str]:
        """Code and reason of the close frame it read last."""
        frame = self.tail[self.tail.rindex(b"\x88") :]
        return int.from_bytes(frame[2:4], "big"), frame[4 : 2 + frame[1]].decode()


async def device(live: Live, address: str, person: ApiUser, *, plain: bool) -> Device:
    host, port = address.split(":")
    stream = await trio.open_tcp_stream(host, int(port))
    path = PLAIN_PATH if plain else f"{SOCKETIO_PATH}?{WEBSOCKET}"
    await stream.send_all(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        f"Authorization: Bearer {live.token(person)}\r\n\r\n".encode()
    )
    received = await stream.receive_some()
    assert received.startswith(b"HTTP/1.1 101")
    if not plain:
        await stream.send_all(b"\x81\x82\0\0\0\0" + b"40")
    while b'"connected"' not in received:
        received += await stream.receive_some()
    return Device(stream)


def memory() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def test_receivers_that_stop_reading_cost_the_others_nothing() -> None:
    async with (
        open_live(now=time.time) as live,
        serving(live) as address,
        trio.open_nursery() as nursery,
    ):
        quick = [await device(live, address, ApiUser(), plain=plain) for plain in (True, False)]
        stuck = [await device(live, address, ApiUser(), plain=plain) for plain in (True, False)]
        for one in quick:
            nursery.start_soon(one.read)
        before, resumed = memory(), False
        with trio.fail_after(60):
            for number in range(FLOOD):
                live.hub.broadcast("flood", {"n": number, "body": BODY})
                # At the pace of the fast readers, which are never far behind.
                while min(len(one.seen) for one in quick) < number - IN_FLIGHT:
                    await trio.lowlevel.checkpoint()
                if not resumed and live.hub.connection_count() == len(quick):
                    for one in stuck:
                        nursery.start_soon(one.read)
                    resumed = True
            while min(len(one.seen) for one in quick) < FLOOD:
                await trio.sleep(0.01)
        assert memory() - before < MAX_GROWTH
        for one in quick:
            assert one.seen == list(range(FLOOD))
        assert resumed
        for one in stuck:
            with trio.fail_after(10):
                while b"\x88" not in one.tail:
                    await trio.sleep(0.01)
            assert one.close_reason == (1013, "slow consumer")
            assert len(one.seen) < FLOOD
        nursery.cancel_scope.cancel()
    assert [reason for _, _, reason in live.departures].count("slow consumer") == 2


# -- SIGTERM with 100 open sockets


async def test_hundred_sockets_get_the_announcement_and_the_program_exits_with_0(
    database_url: str,
) -> None:
    async with open_live_server(database_url, **PATIENT) as live:
        ann = await live.person("Ann")
        clients = [await live.connect(ann, plain=number % 2 == 0) for number in range(100)]
        live.server.stop()
        with trio.fail_after(30):
            for client in clients:
                notice = await client.expect("server_shutdown")
                assert notice["message"] == "Server is shutting down for maintenance"
                assert 1000 <= notice["reconnectAfterMs"] <= 10_000
                await client.closed.wait()
                assert close_code(client) == 1001
            await live.server.ended.wait()
        assert live.server.status == 0


# -- restart during a cooking session


async def test_a_restart_in_the_middle_of_a_session_loses_nothing(database_url: str) -> None:
    async with open_project(database_url) as gotrue:
        async with run_live_server(database_url, gotrue) as live:
            session_id, ann, bob = await gather(live, "Bob")
            await ann.ask("update_cooking_step", {"sessionId": session_id, "newStep": 3})
            live.server.stop()
            await ann.expect("server_shutdown")
            await bob.closed.wait()
            assert await ann.seen_until_closed() == ["cooking_step_updated"]
        async with run_live_server(database_url, gotrue) as live:
            people = [await live.connect(bob.user), await live.connect(ann.user, plain=True)]
            for person in people:
                await person.send("join_cooking_session", {"sessionId": session_id})
                joined = await person.expect("cooking_session_joined")
                assert joined["session"]["id"] == session_id
                assert joined["session"]["participants"] == [ann.id, bob.id]
                assert joined["session"]["currentStep"] == 3
                assert joined["seq"] == 2
            assert await people[0].seen() == []
            # The host is the host still.
            step = {"sessionId": session_id, "newStep": 4}
            await people[1].send("update_cooking_step", step)
            assert (await people[0].expect("cooking_step_updated"))["seq"] == 3


# -- token expiring while connected


@pytest.mark.parametrize("protocol", ["plain", "socketio"])
@pytest.mark.parametrize("refreshes", [False, True])
async def test_a_token_that_expires_closes_after_the_grace_unless_refreshed(
    autojump_clock, protocol: str, refreshes: bool
) -> None:
    async with (
        # Nothing but the token ends it: the interval of pings is longer than the test.
        open_live(SOCKET_PING_INTERVAL_SECONDS="3600") as live,
        getattr(live, protocol)(ann := ApiUser(), 600) as client,
    ):
        await client.expect("token_expiring")
        await trio.sleep_until(650)  # expired, and within the grace
        if refreshes:
            await client.send("authenticate", {"token": live.token(ann, 600)})
            await client.expect("authenticated")
            await client.expect("token_expiring")
        with pytest.raises(Closed) as closed:
            await client.receive()
        assert closed.value.code == 4401
        assert trio.current_time() == (650 + 600 if refreshes else 600) + 60
