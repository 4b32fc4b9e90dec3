"""Cooking sessions end to end: the whole program, both protocols, a real database.

The acceptance cases of live events are in tests/realtime/test_acceptance.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import trio

from cookcam.database import Database
from cookcam.features.social.cooking.codes import new_session_id
from cookcam.features.social.cooking.models import CookingSession
from cookcam.features.social.cooking.store import CookingStore
from tests.identity.project import open_project
from tests.support.live_clients import (
    LiveClient,
    LiveServer,
    gather,
    open_live_server,
    run_live_server,
    start_session,
)
from tests.support.node_clients import node_clients
from tests.support.users import create_user

NOT_ACTIVE = "Cooking session not found or inactive"


@pytest.fixture
async def live(database_url: str) -> AsyncIterator[LiveServer]:
    async with open_live_server(database_url) as live:
        yield live


async def test_create_join_step_and_leave_over_both_protocols(live: LiveServer) -> None:
    ann, bob = await live.connect("Ann"), await live.connect("Bob", plain=True)
    created = await start_session(live, ann, isPublic=True)
    session = created["session"]
    assert created["message"] == "Cooking session created successfully"
    assert "inviteCode" not in created
    session_id = session["id"]
    assert session_id.startswith("session_")
    assert len(session_id) == len("session_") + 26
    assert session.pop("createdAt").endswith("Z")
    assert session.pop("recipeId")
    assert session == {
        "id": session_id,
        "hostId": ann.id,
        "title": "Tonight",
        "participants": [ann.id],
        "currentStep": 0,
        "totalSteps": 4,
        "isActive": True,
        "seq": 0,
    }

    await bob.send("join_cooking_session", {"sessionId": session_id})
    joined = await bob.expect("cooking_session_joined")
    assert joined["message"] == "Joined cooking session successfully"
    assert joined["session"]["participants"] == [ann.id, bob.id]
    assert joined["seq"] == joined["session"]["seq"] == 1
    assert await ann.expect("user_joined_session") == {
        "sessionId": session_id,
        "userId": bob.id,
        "userName": "Bob",
        "participantCount": 2,
        "seq": 1,
    }

    await ann.send("update_cooking_step", {"sessionId": session_id, "newStep": 2})
    step = {
        "sessionId": session_id,
        "currentStep": 2,
        "totalSteps": 4,
        "updatedBy": "Ann",
        "seq": 2,
    }
    assert await bob.expect("cooking_step_updated") == step
    assert await ann.expect("cooking_step_updated") == step

    await bob.send("leave_cooking_session", {"sessionId": session_id})
    assert await ann.expect("user_left_session") == {
        "sessionId": session_id,
        "userId": bob.id,
        "participantCount": 1,
        "seq": 3,
    }
    assert await bob.seen() == []
    assert await ann.seen() == []


async def test_messages_reach_the_room_and_are_stored(live: LiveServer) -> None:
    session_id, ann, bob = await gather(live, "Bob", plain=True)
    message = {"sessionId": session_id, "message": "Is it done?", "messageType": "help"}
    assert await bob.ask("cooking_session_message", message) == {"ok": True}
    received = await ann.expect("cooking_message")
    assert received == await bob.expect("cooking_message")
    assert received.pop("timestamp").endswith("Z")
    assert received == {**message, "userId": bob.id, "userName": "Bob", "seq": 2}
    await ann.ask("cooking_session_message", {"sessionId": session_id, "message": "Soon"})
    assert (await bob.expect("cooking_message"))["messageType"] == "text"
    stored = await live.sql(
        "select seq, message, message_type from live_cooking_messages"
        " where session_id = %(id)s order by seq",
        id=session_id,
    )
    assert stored == [(2, "Is it done?", "help"), (3, "Soon", "text")]


async def test_non_participants_cannot_act_on_a_session(live: LiveServer) -> None:
    session_id, ann, bob = await gather(live, "Bob")
    eve = await live.connect("Eve")
    assert await eve.ask("leave_cooking_session", {"sessionId": session_id}) == {"ok": True}
    message = {"sessionId": session_id, "message": "Spam"}
    assert (await eve.ask("cooking_session_message", message))["error"] == NOT_ACTIVE
    step = {"sessionId": session_id, "newStep": 1}
    only_host = "Only session host can update cooking steps"
    assert (await eve.ask("update_cooking_step", step))["error"] == only_host
    assert (await bob.ask("update_cooking_step", step))["error"] == only_host
    unknown = {"sessionId": "session_00000000000000000000000000"}
    assert (await eve.ask("join_cooking_session", unknown))["error"] == NOT_ACTIVE
    assert await ann.seen() == []
    assert set(await bob.seen()) == {"error"}


async def test_private_session_requires_an_invitation_or_code(live: LiveServer) -> None:
    ann, bob, eve = [await live.connect(name) for name in ("Ann", "Bob", "Eve")]
    unknown = "00000000-0000-4000-8000-000000000000"
    created = await start_session(live, ann, invitedUserIds=[bob.id, unknown])
    session_id, code = created["session"]["id"], created["inviteCode"]
    by_id = {"sessionId": session_id}
    refused = {"ok": False, "error": NOT_ACTIVE}
    assert await eve.ask("join_cooking_session", by_id) == refused
    assert await eve.ask("join_cooking_session", {**by_id, "inviteCode": "wrong"}) == refused
    assert await eve.ask("update_cooking_step", {**by_id, "newStep": 1}) == refused
    assert await bob.ask("join_cooking_session", by_id) == {"ok": True}
    assert await eve.ask("join_cooking_session", {**by_id, "inviteCode": code}) == {"ok": True}
    # A user admitted once may return without the code.
    assert await eve.ask("leave_cooking_session", by_id) == {"ok": True}
    assert await eve.ask("join_cooking_session", by_id) == {"ok": True}
    stored = await live.sql(
        "select invite_code_hash from live_cooking_sessions where id = %(id)s", id=session_id
    )
    assert code not in stored[0][0]


async def test_open_join_admits_any_user_by_id(database_url: str) -> None:
    async with open_live_server(database_url, COOKING_SESSION_OPEN_JOIN="true") as live:
        ann, eve = await live.connect("Ann"), await live.connect("Eve", plain=True)
        session_id = (await start_session(live, ann))["session"]["id"]
        joined = await eve.ask("join_cooking_session", {"sessionId": session_id})
        assert joined["session"]["participants"] == [ann.id, eve.id]


async def test_recipe_must_be_published_or_the_hosts_own(live: LiveServer) -> None:
    ann, bob = await live.connect("Ann"), await live.connect("Bob", plain=True)
    draft = await live.recipe(ann.user, steps=2, is_published=False)
    made = await bob.ask("create_cooking_session", {"recipeId": draft, "title": "Mine"})
    assert (made["message"], made["code"]) == ("Recipe not found", "NOT_FOUND")
    made = await bob.ask("create_cooking_session", {"recipeId": "none", "title": "Mine"})
    assert made["message"] == "Recipe not found"
    await ann.send("create_cooking_session", {"recipeId": draft, "title": "Mine"})
    assert (await ann.expect("cooking_session_created"))["session"]["totalSteps"] == 2


async def test_concurrent_creation_respects_the_limit_of_hosted_sessions(live: LiveServer) -> None:
    ann = await live.connect("Ann")
    devices = [ann, *[await live.connect(ann.user) for _ in range(4)]]
    recipe = await live.recipe(ann.user)
    replies: list[object] = []

    async def create(device: LiveClient) -> None:
        made = {"recipeId": recipe, "title": "Tonight"}
        replies.append(await device.ask("create_cooking_session", made))

    async with trio.open_nursery() as nursery:
        for device in devices:
            nursery.start_soon(create, device)
    assert replies.count({"ok": True}) == 3
    assert replies.count({"ok": False, "error": "Failed to create cooking session"}) == 2


async def test_participant_and_joined_session_limits(live: LiveServer) -> None:
    session_id, ann = await gather(live)
    await live.sql(
        "with u as (insert into auth.users (email)"
        " select gen_random_uuid() || '@example.test' from generate_series(1, 49) returning id)"
        " insert into live_cooking_participants (session_id, user_id) select %(id)s, id from u",
        id=session_id,
    )
    bob = await live.connect("Bob", plain=True)
    full = await bob.ask("join_cooking_session", {"sessionId": session_id})
    assert full["message"] == "Failed to join cooking session"
    assert full["details"] == {"limit": "participants", "most": 50}
    await live.sql(
        "with s as (insert into live_cooking_sessions (id, host_id, title, is_public)"
        " select 'session_' || gen_random_uuid(), %(ann)s, 'T', true from generate_series(1, 10)"
        " returning id)"
        " insert into live_cooking_participants (session_id, user_id) select id, %(bob)s from s",
        ann=ann.id,
        bob=bob.id,
    )
    carl = await live.connect("Carl")
    other = (await start_session(live, carl, isPublic=True))["session"]["id"]
    refused = await bob.ask("join_cooking_session", {"sessionId": other})
    assert refused["message"] == "Failed to join cooking session"
    assert refused["details"] == {"limit": "joined cooking sessions", "most": 10}


async def test_two_devices_of_a_user_are_one_participant(live: LiveServer) -> None:
    session_id, ann, bob = await gather(live, "Bob")
    tablet = await live.connect(bob.user, plain=True)
    await tablet.send("join_cooking_session", {"sessionId": session_id})
    joined = await tablet.expect("cooking_session_joined")
    assert joined["session"]["participants"] == [ann.id, bob.id]
    assert joined["seq"] == 1
    await live.drop(bob)
    assert await ann.seen() == []
    await ann.send("update_cooking_step", {"sessionId": session_id, "newStep": 1})
    assert (await tablet.expect("cooking_step_updated"))["seq"] == 2
    await tablet.send("leave_cooking_session", {"sessionId": session_id})
    assert (await ann.expect("user_left_session"))["participantCount"] == 1


async def test_concurrent_steps_are_numbered_and_ordered(live: LiveServer) -> None:
    session_id, ann, bob = await gather(live, "Bob", plain=True)
    tablet = await live.connect(ann.user)
    await tablet.ask("join_cooking_session", {"sessionId": session_id})
    steps = [(device, step) for step in range(5) for device in (ann, tablet)]
    async with trio.open_nursery() as nursery:
        for device, step in steps:
            payload = {"sessionId": session_id, "newStep": step}
            nursery.start_soon(device.ask, "update_cooking_step", payload)
    received = [await bob.expect("cooking_step_updated") for _ in steps]
    assert [event["seq"] for event in received] == list(range(2, 2 + len(steps)))
    assert [await ann.expect("cooking_step_updated") for _ in steps] == received
    last = await bob.ask("join_cooking_session", {"sessionId": session_id})
    assert last["session"]["currentStep"] == received[-1]["currentStep"]


async def test_concurrent_writers_never_write_the_same_seq(database: Database) -> None:
    """Two stores stand for two instances: only the conditional update separates them."""
    stores = CookingStore(database), CookingStore(database)
    session = CookingSession(
        id=new_session_id(),
        host_id=await create_user(database._url),
        recipe_id=None,
        title="Tonight",
        is_public=True,
        total_steps=9,
        created_at=datetime.now(UTC),
        participants=[],
        admitted=[],
    )
    await stores[0].create(session, [], at_most=1)
    written: list[int] = []

    async def write(store: CookingStore) -> None:
        for step in range(10):
            while True:
                before = await store.find(session.id)
                assert before is not None
                after = before.at_step(step % 9)
                if await store.advance(before, after):
                    written.append(after.seq)
                    break

    async with trio.open_nursery() as nursery:
        for store in stores:
            nursery.start_soon(write, store)
    assert sorted(written) == list(range(1, 21))


async def test_idle_session_ends_after_a_restart(
    database_url: str,
) -> None:
    """The idle time is counted from the last event in the row."""
    quiet = "update live_cooking_sessions set last_event_at = now() - interval '6 h'"
    ended = "select id, end_reason from live_cooking_sessions where id = any(%(ids)s)"
    async with open_project(database_url) as gotrue:
        async with run_live_server(database_url, gotrue) as live:
            silent, _ = await gather(live)
            lively, ann = await gather(live)
            await live.sql(f"{quiet} where id = any(%(ids)s)", ids=[silent, lively])
            await ann.ask("update_cooking_step", {"sessionId": lively, "newStep": 1})
        async with run_live_server(database_url, gotrue) as live:
            with trio.fail_after(10):
                while True:
                    rows = dict(await live.sql(ended, ids=[silent, lively]))
                    if rows[silent]:
                        break
                    await trio.sleep(0.1)
            assert rows == {silent: "Session expired", lively: None}


async def test_health_counts_active_sessions(fresh_database_url: str) -> None:
    async with open_live_server(fresh_database_url) as live:
        session_id, ann = await gather(live)
        assert (await live.health())["cooking_sessions"] == 1
        await ann.ask("leave_cooking_session", {"sessionId": session_id})
        assert (await live.health())["cooking_sessions"] == 0


async def test_messages_over_the_rate_limit_are_rejected(live: LiveServer) -> None:
    session_id, ann = await gather(live)
    for _ in range(6):
        await ann.send("cooking_session_message", {"sessionId": session_id, "message": "!"})
    error = await ann.expect("error")
    assert error["message"] == "Rate limit exceeded"
    assert error["event"] == "cooking_session_message"
    assert error["retryAfter"] >= 1


async def test_socketio_client_library_and_plain_client_share_a_session(live: LiveServer) -> None:
    async with node_clients() as node:
        ann = await live.person("Ann")
        phone = await node.connect(live.server.url, live.gotrue.issue_token(ann))
        await phone.expect("event connected")
        bob = await live.connect("Bob", plain=True)
        recipe = await live.recipe(ann)
        made = {"recipeId": recipe, "title": "Tonight", "isPublic": True}
        assert await phone.ask("create_cooking_session", made) == {"ok": True}
        created = await phone.expect("event cooking_session_created")
        session_id = created["session"]["id"]
        await bob.ask("join_cooking_session", {"sessionId": session_id})
        assert (await phone.expect("event user_joined_session"))["userName"] == "Bob"
        await phone.emit("update_cooking_step", {"sessionId": session_id, "newStep": 1})
        assert (await bob.expect("cooking_step_updated"))["updatedBy"] == "Ann"
        await bob.send("cooking_session_message", {"sessionId": session_id, "message": "Hi"})
        assert (await phone.expect("event cooking_message"))["message"] == "Hi"
        await phone.emit("leave_cooking_session", {"sessionId": session_id})
        assert (await bob.expect("cooking_session_ended"))["reason"] == "Host left the session"
