"""The live feed end to end: recipients of the events, and rejected requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.live_clients import LiveClient, LiveServer, open_live_server


@pytest.fixture
async def live(database_url: str) -> AsyncIterator[LiveServer]:
    async with open_live_server(database_url) as live:
        yield live


@pytest.fixture
async def live_without_limits(database_url: str) -> AsyncIterator[LiveServer]:
    """A server with rate limits that no test reaches."""
    limits = {
        f"SOCKET_{name}": "1000"
        for name in (
            "EVENTS_PER_SECOND",
            "BROADCASTS_PER_MINUTE",
            "MESSAGES_PER_SECOND",
            "REACTIONS_PER_MINUTE",
            "COLLAB_REQUESTS_PER_MINUTE",
        )
    }
    async with open_live_server(database_url, **limits) as live:
        yield live


async def follow(live: LiveServer, follower: LiveClient, followed: LiveClient) -> None:
    await live.sql(
        "insert into user_follows (follower_id, following_id) values (%(a)s, %(b)s)",
        a=follower.id,
        b=followed.id,
    )


async def share(live: LiveServer, author: LiveClient, **more: Any) -> dict[str, Any]:
    recipe = await live.recipe(author.user)
    shared = {"recipeId": recipe, "title": "Soup", "description": "Hot", **more}
    assert await author.ask("share_recipe_live", shared) == {"ok": True}
    return await author.expect("live_recipe_shared")


async def test_shares_likes_and_comments_are_broadcast(
    live: LiveServer,
) -> None:
    ann, bob = await live.connect("Ann"), await live.connect("Bob", plain=True)
    shared = await share(live, ann, tags=["winter"])
    assert await bob.expect("live_recipe_shared") == shared
    share_id = shared["id"]
    assert share_id.startswith("share_")
    assert shared.pop("timestamp").endswith("Z")
    assert shared.pop("recipeId")
    assert shared == {
        "id": share_id,
        "userId": ann.id,
        "userName": "Ann",
        "title": "Soup",
        "description": "Hot",
        "tags": ["winter"],
    }

    for likes, (name, fan) in enumerate((("Bob", bob), ("Ann", ann)), 1):
        for _ in range(2):  # the second time nothing happens
            assert await fan.ask("like_live_recipe", {"shareId": share_id}) == {"ok": True}
        liked = await ann.expect("live_recipe_liked")
        assert await bob.expect("live_recipe_liked") == liked
        assert liked.pop("timestamp").endswith("Z")
        assert liked == {
            "shareId": share_id,
            "likedBy": fan.id,
            "userName": name,
            "likeCount": likes,
        }

    await bob.ask("comment_live_recipe", {"shareId": share_id, "comment": "Yum"})
    comment = await ann.expect("live_recipe_commented")
    assert await bob.expect("live_recipe_commented") == comment
    assert comment.pop("timestamp").endswith("Z")
    assert comment == {
        "shareId": share_id,
        "comment": "Yum",
        "commentBy": bob.id,
        "userName": "Bob",
    }
    assert await ann.seen() == await bob.seen() == []
    assert await live.sql(
        "select title, description, tags, (select count(*) from live_recipe_likes l"
        " where l.share_id = s.id), (select array_agg(comment) from live_recipe_comments c"
        " where c.share_id = s.id) from live_recipe_shares s where id = %(id)s",
        id=share_id,
    ) == [("Soup", "Hot", ["winter"], 2, ["Yum"])]


async def test_unknown_or_invisible_recipes_are_rejected(live: LiveServer) -> None:
    ann, bob = await live.connect("Ann"), await live.connect("Bob", plain=True)
    draft = await live.recipe(ann.user, is_published=False)
    shared = {"recipeId": draft, "title": "Mine", "description": ""}
    assert (await bob.ask("share_recipe_live", shared))["message"] == "Recipe not found"
    for event, more in (("like_live_recipe", {}), ("comment_live_recipe", {"comment": "?"})):
        reply = await bob.ask(event, {"shareId": "share_none", **more})
        assert (reply["message"], reply["code"]) == ("Live recipe not found", "NOT_FOUND")
    assert await ann.seen() == []


async def test_scan_is_sent_to_followers_and_own_devices(live: LiveServer) -> None:
    ann, bob, eve = [await live.connect(name) for name in ("Ann", "Bob", "Eve")]
    tablet = await live.connect(ann.user, plain=True)
    await follow(live, bob, ann)
    await follow(live, ann, eve)
    scan = {"ingredients": ["leek", "egg"], "confidence": 95}
    assert await ann.ask("share_scan_result", scan) == {"ok": True}
    for client in (ann, tablet, bob):
        received = await client.expect("live_scan_shared")
        assert received.pop("timestamp").endswith("Z")
        assert received == {**scan, "userId": ann.id, "userName": "Ann"}
    assert await eve.seen() == []


async def test_invalid_scans_are_rejected(live_without_limits: LiveServer) -> None:
    ann = await live_without_limits.connect("Ann", plain=True)
    storage = live_without_limits.gotrue.url.partition("//")[2]
    scan = {"ingredients": ["leek"], "confidence": 0.5}
    wrong: list[dict[str, Any]] = [
        {"imageUrl": "https://evil.example/x.jpg"},
        {"imageUrl": f"http://{storage}/x.jpg"},
        {"imageUrl": f"https://{storage}@evil.example/x.jpg"},
        {"imageUrl": f"https://evil.example\\@{storage}/x.jpg"},
        {"imageUrl": "https://[/x.jpg"},
        {"ingredients": []},
        {"ingredients": ["leek", 7]},
        {"ingredients": [["leek"]]},
        {"confidence": 101},
        {"confidence": "1"},
    ]
    for change in wrong:
        error = await ann.ask("share_scan_result", {**scan, **change})
        assert (error["message"], error["field"]) == ("Invalid payload", next(iter(change)))
    shown = {**scan, "imageUrl": f"https://{storage}/x.jpg"}
    assert await ann.ask("share_scan_result", shown) == {"ok": True}
    assert (await ann.expect("live_scan_shared"))["imageUrl"] == shown["imageUrl"]


async def test_broadcasts_are_rate_limited(live: LiveServer) -> None:
    ann, bob = await live.connect("Ann"), await live.connect("Bob", plain=True)
    recipe = await live.recipe(ann.user)
    shared = {"recipeId": recipe, "title": "Soup", "description": ""}
    replies = [await ann.ask("share_recipe_live", shared) for _ in range(7)]
    assert replies == [{"ok": True}] * 6 + [{"ok": False, "error": "Rate limit exceeded"}]
    assert (await bob.seen()).count("live_recipe_shared") == 6


async def test_collab_request_reaches_all_devices_of_the_target(live: LiveServer) -> None:
    ann, bob = await live.connect("Ann"), await live.connect("Bob")
    tablet = await live.connect(bob.user, plain=True)
    recipe = await live.recipe(ann.user)
    ask = {"targetUserId": bob.id, "recipeId": recipe, "message": "Tonight?"}
    assert await ann.ask("request_recipe_collab", ask) == {"ok": True}
    for device in (bob, tablet):
        request = await device.expect("recipe_collab_request")
        assert request.pop("timestamp").endswith("Z")
        assert request == {
            "fromUserId": ann.id,
            "fromUserName": "Ann",
            "recipeId": recipe,
            "message": "Tonight?",
        }
    unknown = {**ask, "targetUserId": "00000000-0000-4000-8000-000000000000"}
    assert await ann.ask("request_recipe_collab", unknown) == {"ok": True}
    assert await ann.ask("request_recipe_collab", {**ask, "targetUserId": ann.id}) == {
        "ok": False,
        "error": "Invalid payload",
    }
    draft = await live.recipe(bob.user, is_published=False)
    assert await ann.ask("request_recipe_collab", {**ask, "recipeId": draft}) == {
        "ok": False,
        "error": "Recipe not found",
    }
    for _ in range(2):
        assert await ann.ask("request_recipe_collab", ask) == {"ok": True}
    limited = {"ok": False, "error": "Rate limit exceeded"}
    assert await ann.ask("request_recipe_collab", ask) == limited
