"""Cooking sessions end to end: the whole program, both protocols, a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.features.live import Kitchen, open_kitchen, start_session

GONE = "Cooking session not found or inactive"


@pytest.fixture
async def kitchen(database_url: str) -> AsyncIterator[Kitchen]:
    async with open_kitchen(database_url) as kitchen:
        yield kitchen


async def test_create_join_step_and_leave_over_both_protocols(kitchen: Kitchen) -> None:
    ann, bob = await kitchen.connect("Ann"), await kitchen.connect("Bob", plain=True)
    created = await start_session(kitchen, ann, isPublic=True)
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
