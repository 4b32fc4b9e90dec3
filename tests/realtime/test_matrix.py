"""Every way in, through the whole program: npm's client on each transport, and plain frames.

Acknowledgements and attachments in both directions, which no event of CookCam uses from the server
to the client, are checked on each transport in `socketio/test_real_client.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from cookcam.sandbox.gotrue import User
from tests.support.live_clients import LiveClient, LiveServer, open_live_server
from tests.support.node_clients import NodeClients, NodeSocket, node_clients

pytestmark = pytest.mark.external

TRANSPORTS: dict[str, list[str]] = {
    "polling": ["polling"],
    "websocket": ["websocket"],
    "upgrade": ["polling", "websocket"],
}
ROOM_EVENTS = (
    "user_joined_session",
    "user_left_session",
    "cooking_step_updated",
    "cooking_message",
    "cooking_session_ended",
)


@pytest.fixture
async def live(database_url: str) -> AsyncIterator[LiveServer]:
    async with open_live_server(database_url) as live:
        yield live


@pytest.fixture
async def node() -> AsyncIterator[NodeClients]:
    async with node_clients() as clients:
        yield clients


async def connect(
    live: LiveServer, node: NodeClients, user: User, transport: str, **auth: Any
) -> NodeSocket:
    """A client that has arrived on the transport."""
    socket = await node.connect(
        live.server.url,
        live.gotrue.issue_token(user),
        transports=TRANSPORTS[transport],
        auth=auth,
    )
    await socket.expect("event connected")
    if transport == "upgrade":
        assert await socket.expect("upgrade") == "websocket"
    return socket


async def host(live: LiveServer, name: str = "Ann") -> tuple[str, LiveClient]:
    """A session over the plain protocol."""
    ann = await live.connect(name, plain=True)
    recipe = await live.recipe(ann.user)
    made = {"recipeId": recipe, "title": "Tonight", "isPublic": True}
    created = await ann.ask("create_cooking_session", made)
    return created["session"]["id"], ann


async def test_one_user_on_each_transport_cook_together(live: LiveServer, node: NodeClients):
    session_id, ann = await host(live)
    room = {"sessionId": session_id}
    guests: dict[str, NodeSocket] = {}
    users: dict[str, User] = {}
    for transport in TRANSPORTS:
        users[transport] = await live.person(transport)
        guests[transport] = await connect(live, node, users[transport], transport)
        assert await guests[transport].ask("join_cooking_session", room) == {"ok": True}
        joined = await guests[transport].expect("event cooking_session_joined")
        assert joined["seq"] == len(guests)
    polling, _, upgraded = guests.values()

    step = {**room, "newStep": 2, "stepNotes": "Low heat"}
    assert await ann.ask("update_cooking_step", step) == {"ok": True}
    for transport, guest in guests.items():
        message = {**room, "message": f"from {transport}"}
        assert await guest.ask("cooking_session_message", message) == {"ok": True}
    assert await upgraded.ask("leave_cooking_session", room) == {"ok": True}
    again = await upgraded.ask("join_cooking_session", room)
    assert again == {"ok": True}
    assert await polling.ask("update_cooking_step", {**room, "newStep": 3}) == {
        "ok": False,
        "error": "Only session host can update cooking steps",
    }
    await ann.send("leave_cooking_session", room)

    await ann.expect("cooking_session_ended")
    for guest in guests.values():
        assert (await guest.expect("event cooking_session_ended"))["seq"] == 10
    received = {name: guest.heard(*ROOM_EVENTS) for name, guest in guests.items()}
    received["plain"] = [data for name, data in ann.events if name in ROOM_EVENTS]
    # The host sees everything: three join, one step, three messages, one leaves and returns.
    assert [event["seq"] for event in received["plain"]] == list(range(1, 10))
    everything = {event["seq"]: event for event in received["plain"]}
    # Who joined as the n-th sees what came after, save for what the upgraded one did itself.
    assert [event["seq"] for event in received["polling"]] == list(range(2, 10))
    assert [event["seq"] for event in received["websocket"]] == list(range(3, 10))
    assert [event["seq"] for event in received["upgrade"]] == list(range(4, 8))
    for events in received.values():
        for event in events:
            assert event == everything[event["seq"]]
    assert everything[4]["stepNotes"] == "Low heat"
    assert [everything[seq]["userName"] for seq in (1, 2, 3)] == list(TRANSPORTS)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_client_that_drops_and_reconnects_misses_nothing(
    live: LiveServer, node: NodeClients, transport: str
):
    session_id, ann = await host(live)
    room = {"sessionId": session_id}
    bob = await connect(live, node, await live.person("Bob"), transport, recover=True)
    before = await bob.expect("connect")
    assert not before["recovered"]
    await bob.ask("join_cooking_session", room)

    await bob.drop()
    assert (await bob.expect("disconnect"))["reason"].startswith("transport")
    assert await ann.ask("update_cooking_step", {**room, "newStep": 3}) == {"ok": True}
    assert await ann.ask("cooking_session_message", {**room, "message": "?"}) == {"ok": True}
    await bob.reconnect()
    after = await bob.expect("connect")
    assert (after["recovered"], after["id"]) == (True, before["id"])
    assert (await bob.expect("event cooking_step_updated"))["seq"] == 2
    assert (await bob.expect("event cooking_message"))["seq"] == 3

    # In the room again without joining, and once.
    assert await bob.ask("cooking_session_message", {**room, "message": "!"}) == {"ok": True}
    assert (await bob.expect("event cooking_message"))["seq"] == 4
    assert bob.heard(*ROOM_EVENTS) == []
    seen = await ann.seen()
    assert [name for name in seen if name in ROOM_EVENTS] == [
        "user_joined_session",
        "cooking_step_updated",
        "cooking_message",
        "cooking_message",
    ]
    assert (await live.health())["connections"] == 2


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_bytes_in_an_event_are_a_wrong_payload_and_nothing_more(
    live: LiveServer, node: NodeClients, transport: str
):
    bob = await connect(live, node, await live.person("Bob"), transport)
    attached = {"$bytes": [0, 255, 30]}
    for payload in (attached, {"shareId": attached}, [attached, attached]):
        response = await bob.ask("like_live_recipe", payload)
        assert response == {"ok": False, "error": "Invalid payload"}
    assert await bob.ask("update_cooking_status", {"status": "idle"}) == {"ok": True}
