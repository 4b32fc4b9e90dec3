"""Reading cooking sessions and their messages over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx
import pytest

from cookcam.features.social.cooking.routes import MessageListResponse, SessionListResponse
from tests.support.live_clients import LiveClient, LiveServer, open_live_server, start_session
from tests.support.pages import decoded, walk


@pytest.fixture
async def live(fresh_database_url: str) -> AsyncIterator[LiveServer]:
    async with open_live_server(fresh_database_url, SOCKET_MESSAGES_PER_SECOND="1000") as live:
        yield live


async def get(live: LiveServer, reader: LiveClient, path: str, **options: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {live.gotrue.issue_token(reader.user)}"}
    return await live.server.http.get(path, headers=headers, **options)


async def sessions(live: LiveServer, reader: LiveClient, path: str) -> dict[str, dict[str, Any]]:
    response = await get(live, reader, path)
    decoded(response, SessionListResponse)
    return {session["id"]: session for session in response.json()["sessions"]}


async def texts(live: LiveServer, reader: LiveClient, session_id: str) -> list[str] | None:
    """The messages that the reader can read, newest first; None for a 404."""
    response = await get(live, reader, f"/cooking-sessions/{session_id}/messages")
    if response.status_code == 404:
        assert response.json()["error"] == "Cooking session not found"
        return None
    return [message.message for message in decoded(response, MessageListResponse).messages]


async def join(client: LiveClient, session_id: str, code: str | None = None) -> None:
    payload = {"sessionId": session_id} | ({"inviteCode": code} if code else {})
    await client.send("join_cooking_session", payload)
    await client.expect("cooking_session_joined")


async def say(client: LiveClient, session_id: str, text: str) -> None:
    message = {"sessionId": session_id, "message": text}
    assert await client.ask("cooking_session_message", message) == {"ok": True}


async def test_public_list_has_active_public_sessions_only(live: LiveServer) -> None:
    ann, bob = await live.connect("Ann"), await live.connect("Bob", plain=True)
    private = (await start_session(live, ann))["session"]
    public = (await start_session(live, ann, isPublic=True))["session"]
    await join(bob, public["id"])
    state = {key: public[key] for key in ("id", "hostId", "recipeId", "title", "createdAt")}
    for reader, participating in ((ann, True), (bob, True), (await live.connect("Eve"), False)):
        assert await sessions(live, reader, "/cooking-sessions") == {
            public["id"]: {
                **state,
                "hostName": "Ann",
                "isPublic": True,
                "currentStep": 0,
                "totalSteps": 4,
                "participantCount": 2,
                "participating": participating,
                "isActive": True,
                "endedAt": None,
                "endReason": None,
                "seq": 1,
            }
        }
    await ann.ask("leave_cooking_session", {"sessionId": public["id"]})
    assert await sessions(live, bob, "/cooking-sessions") == {}
    mine = await sessions(live, bob, "/cooking-sessions/mine")
    assert mine.keys() == {public["id"]}
    ended = mine[public["id"]]
    assert (ended["isActive"], ended["endReason"]) == (False, "Host left the session")
    assert ended["endedAt"].endswith("Z")
    own = await sessions(live, ann, "/cooking-sessions/mine")
    assert own.keys() == {private["id"], public["id"]}
    assert "inviteCode" not in own[private["id"]]


async def test_own_list_has_hosted_joined_and_invited_sessions(live: LiveServer) -> None:
    ann, bob, eve = [await live.connect(name) for name in ("Ann", "Bob", "Eve")]
    created = await start_session(live, ann, invitedUserIds=[bob.id])
    session_id = created["session"]["id"]
    mine = "/cooking-sessions/mine"
    assert (await sessions(live, ann, mine))[session_id]["participating"] is True
    invited = (await sessions(live, bob, mine))[session_id]
    assert (invited["participating"], invited["participantCount"]) == (False, 1)
    assert await sessions(live, eve, mine) == {}
    await join(eve, session_id, created["inviteCode"])
    assert (await sessions(live, eve, mine))[session_id]["participating"] is True


async def test_only_participants_read_messages_of_a_private_session(live: LiveServer) -> None:
    ann, bob, eve, zoe = [await live.connect(name) for name in ("Ann", "Bob", "Eve", "Zoe")]
    created = await start_session(live, ann, invitedUserIds=[bob.id])
    session_id = created["session"]["id"]
    await join(eve, session_id, created["inviteCode"])
    await say(ann, session_id, "First")
    await say(eve, session_id, 'Second "<3"')
    sent = await ann.expect("cooking_message"), await ann.expect("cooking_message")
    response = await get(live, eve, f"/cooking-sessions/{session_id}/messages")
    decoded(response, MessageListResponse)
    assert response.json() == {"messages": [sent[1], sent[0]], "next_cursor": None}
    assert await texts(live, bob, session_id) == []  # invited, not joined
    assert await texts(live, zoe, session_id) is None
    assert await texts(live, zoe, "session_none") is None

    await eve.ask("leave_cooking_session", {"sessionId": session_id})
    await ann.expect("user_left_session")
    await say(ann, session_id, "Third")
    assert await texts(live, ann, session_id) == ["Third", 'Second "<3"', "First"]
    assert await texts(live, eve, session_id) == ['Second "<3"', "First"]
    await join(bob, session_id)
    assert await texts(live, bob, session_id) == ["Third", 'Second "<3"', "First"]

    await ann.ask("leave_cooking_session", {"sessionId": session_id})
    assert await texts(live, ann, session_id) == ["Third", 'Second "<3"', "First"]
    assert await texts(live, bob, session_id) == ["Third", 'Second "<3"', "First"]
    assert await texts(live, zoe, session_id) is None


async def test_messages_of_a_public_session_are_readable_without_joining(live: LiveServer) -> None:
    ann, eve = await live.connect("Ann"), await live.connect("Eve")
    session_id = (await start_session(live, ann, isPublic=True))["session"]["id"]
    await say(ann, session_id, "Hello")
    assert await texts(live, eve, session_id) == ["Hello"]
    guest = await live.server.http.get(f"/cooking-sessions/{session_id}/messages")
    assert guest.status_code == 401


async def test_sender_of_a_deleted_account_is_null(live: LiveServer) -> None:
    ann, bob = await live.connect("Ann"), await live.connect("Bob")
    session_id = (await start_session(live, ann, isPublic=True))["session"]["id"]
    await join(bob, session_id)
    await say(bob, session_id, "Bye")
    await live.sql(
        "update live_cooking_messages set user_id = null where session_id = %(id)s", id=session_id
    )
    response = await get(live, ann, f"/cooking-sessions/{session_id}/messages")
    (message,) = decoded(response, MessageListResponse).messages
    assert (message.user_id, message.user_name, message.message) == (None, None, "Bye")


async def test_sessions_and_messages_are_read_page_by_page(live: LiveServer) -> None:
    ann = await live.connect("Ann")
    read = partial(get, live, ann)
    await live.sql(
        "insert into live_cooking_sessions (id, host_id, title, is_public, created_at)"
        " select 's' || n, %(ann)s, n::text, true, '2026-01-01Z' from generate_series(1, 5) n",
        ann=ann.id,
    )
    await live.sql(
        "insert into live_cooking_participants (session_id, user_id)"
        " select id, host_id from live_cooking_sessions"
    )
    await live.sql(
        "insert into live_cooking_messages (session_id, seq, user_id, message)"
        " select 's1', n, %(ann)s, n::text from generate_series(1, 5) n",
        ann=ann.id,
    )
    for path in ("/cooking-sessions", "/cooking-sessions/mine"):
        pages = await walk(read, path, "sessions", 2)
        assert [[item["title"] for item in page] for page in pages] == [
            ["5", "4"],
            ["3", "2"],
            ["1"],
        ]
    pages = await walk(read, "/cooking-sessions/s1/messages", "messages", 2)
    assert [[item["seq"] for item in page] for page in pages] == [[5, 4], [3, 2], [1]]
    for cursor in ("x", "-1", "1.5", "1" * 16, "\u0661"):
        response = await read("/cooking-sessions/s1/messages", params={"cursor": cursor})
        assert (response.status_code, response.json()["details"]["field"]) == (400, "cursor")
