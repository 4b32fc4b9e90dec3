"""What people are doing, end to end: told to followers and companions, and to nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.features.live import Kitchen, gather, open_kitchen


@pytest.fixture
async def kitchen(database_url: str) -> AsyncIterator[Kitchen]:
    async with open_kitchen(database_url) as kitchen:
        yield kitchen


async def test_a_status_is_told_to_followers_and_companions_once(kitchen: Kitchen) -> None:
    _, ann, bob = await gather(kitchen, "Bob")
    eve, carl = await kitchen.connect("Eve", plain=True), await kitchen.connect("Carl")
    tablet = await kitchen.connect(ann.user, plain=True)
    for follower in (eve, bob):  # Bob follows her and cooks with her
        await kitchen.sql(
            "insert into user_follows (follower_id, following_id) values (%(a)s, %(b)s)",
            a=follower.id,
            b=ann.id,
        )
    status = {"status": "cooking", "recipeId": "r1", "currentStep": 2}
    assert await ann.ask("update_cooking_status", status) == {"ok": True}
    for client in (eve, bob):
        heard = await client.expect("user_status_updated")
        assert heard.pop("timestamp").endswith("Z")
        assert heard == {**status, "userId": ann.id, "userName": "Ann"}
        assert await client.seen() == []
    for client in (ann, tablet, carl):
        assert await client.seen() == []

    await ann.ask("update_cooking_status", {"status": "idle", "recipeId": None})
    heard = await bob.expect("user_status_updated")
    assert heard.keys() == {"userId", "userName", "status", "timestamp"}


async def test_an_unknown_status_is_refused(kitchen: Kitchen) -> None:
    ann = await kitchen.connect("Ann", plain=True)
    for payload in ({"status": "sleeping"}, {}, {"status": 1}):
        error = await ann.ask("update_cooking_status", payload)
        assert (error["message"], error["field"]) == ("Invalid payload", "status")


async def test_people_are_seen_by_the_names_of_their_profiles(kitchen: Kitchen) -> None:
    ann, bob = await kitchen.person("Ann"), await kitchen.person("Bob")
    rename = "update users set name = %(name)s where id = %(id)s"
    await kitchen.sql(rename, name="Robert", id=bob.id)
    listener, speaker = await kitchen.connect(ann), await kitchen.connect(bob, plain=True)
    recipe = await kitchen.recipe(bob)
    shared = {"recipeId": recipe, "title": "Soup", "description": ""}
    assert await speaker.ask("share_recipe_live", shared) == {"ok": True}
    assert (await listener.expect("live_recipe_shared"))["userName"] == "Robert"
