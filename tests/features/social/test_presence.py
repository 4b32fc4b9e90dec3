"""Activity status end to end: sent to followers and cooking companions only."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.live_clients import LiveServer, gather, open_live_server


@pytest.fixture
async def live(database_url: str) -> AsyncIterator[LiveServer]:
    async with open_live_server(database_url) as live:
        yield live


async def test_status_is_sent_once_to_followers_and_companions(live: LiveServer) -> None:
    _, ann, bob = await gather(live, "Bob")
    eve, carl = await live.connect("Eve", plain=True), await live.connect("Carl")
    tablet = await live.connect(ann.user, plain=True)
    for follower in (eve, bob):  # Bob follows her and cooks with her
        await live.sql(
            "insert into user_follows (follower_id, following_id) values (%(a)s, %(b)s)",
            a=follower.id,
            b=ann.id,
        )
    status = {"status": "cooking", "recipeId": "r1", "currentStep": 2}
    assert await ann.ask("update_cooking_status", status) == {"ok": True}
    for client in (eve, bob):
        received = await client.expect("user_status_updated")
        assert received.pop("timestamp").endswith("Z")
        assert received == {**status, "userId": ann.id, "userName": "Ann"}
        assert await client.seen() == []
    for client in (ann, tablet, carl):
        assert await client.seen() == []

    await ann.ask("update_cooking_status", {"status": "idle", "recipeId": None})
    received = await bob.expect("user_status_updated")
    assert received.keys() == {"userId", "userName", "status", "timestamp"}


async def test_unknown_status_is_rejected(live: LiveServer) -> None:
    ann = await live.connect("Ann", plain=True)
    for payload in ({"status": "sleeping"}, {}, {"status": 1}):
        error = await ann.ask("update_cooking_status", payload)
        assert (error["message"], error["field"]) == ("Invalid payload", "status")


async def test_events_contain_the_display_names_of_profiles(live: LiveServer) -> None:
    ann, bob = await live.person("Ann"), await live.person("Bob")
    rename = "update users set name = %(name)s where id = %(id)s"
    await live.sql(rename, name="Robert", id=bob.id)
    listener, speaker = await live.connect(ann), await live.connect(bob, plain=True)
    recipe = await live.recipe(bob)
    shared = {"recipeId": recipe, "title": "Soup", "description": ""}
    assert await speaker.ask("share_recipe_live", shared) == {"ok": True}
    assert (await listener.expect("live_recipe_shared"))["userName"] == "Robert"
