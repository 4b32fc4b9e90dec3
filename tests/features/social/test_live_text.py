"""The rule of visible text on sockets: names, titles, messages and comments."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.live_clients import LiveServer, gather, open_live_server, start_session


@pytest.fixture
async def kitchen(database_url: str) -> AsyncIterator[LiveServer]:
    async with open_live_server(database_url) as opened:
        yield opened


async def test_controls_are_removed_from_titles_and_messages(kitchen: LiveServer) -> None:
    ann = await kitchen.connect("\u202eAnn\u200b")
    created = await start_session(kitchen, ann, title="\u202eTonight\u200b")
    assert created["session"]["title"] == "Tonight"
    session_id, bob, cid = await gather(kitchen, "Cid")
    message = {"sessionId": session_id, "message": "Salt\u202e?\nNow"}
    await bob.send("cooking_session_message", message)
    received = await cid.expect("cooking_message")
    assert received["message"] == "Salt?\nNow"


@pytest.mark.parametrize("plain", [False, True])
async def test_invisible_text_is_rejected_and_the_socket_stays(
    kitchen: LiveServer, plain: bool
) -> None:
    ann = await kitchen.connect("Ann", plain=plain)
    recipe = await kitchen.recipe(ann.user)
    for event, payload in (
        ("create_cooking_session", {"recipeId": recipe, "title": "\u200b\u200b"}),
        ("cooking_session_message", {"sessionId": "x", "message": "\u202e"}),
        ("comment_live_recipe", {"shareId": "x", "comment": "\u2066 \u2069"}),
        ("share_recipe_live", {"recipeId": recipe, "title": "\u3164", "description": ""}),
        ("share_scan_result", {"ingredients": ["\u200b"], "confidence": 50}),
    ):
        await ann.send(event, payload)
        error = await ann.expect("error")
        assert (error["code"], error["event"]) == ("VALIDATION_ERROR", event), error
    await ann.seen()  # still answered
