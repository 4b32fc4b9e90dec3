"""Reading the live feed over HTTP: shares and their comments."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx
import pytest

from cookcam.features.social.feed.routes import FeedResponse, ShareCommentListResponse
from tests.support.live_clients import LiveClient, LiveServer, open_live_server
from tests.support.pages import decoded, walk


@pytest.fixture
async def live(fresh_database_url: str) -> AsyncIterator[LiveServer]:
    async with open_live_server(fresh_database_url) as live:
        yield live


async def get(live: LiveServer, reader: LiveClient, path: str, **options: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {live.gotrue.issue_token(reader.user)}"}
    return await live.server.http.get(path, headers=headers, **options)


async def share(live: LiveServer, author: LiveClient, **more: Any) -> dict[str, Any]:
    recipe = await live.recipe(author.user)
    shared = {"recipeId": recipe, "title": "Soup", "description": "Hot", **more}
    assert await author.ask("share_recipe_live", shared) == {"ok": True}
    while True:  # the shares of others come first
        event = await author.expect("live_recipe_shared")
        if event["recipeId"] == recipe:
            return event


async def test_shares_are_read_back_as_they_were_sent(live: LiveServer) -> None:
    ann, bob = await live.connect("Ann"), await live.connect("Bob", plain=True)
    assert (await get(live, bob, "/feed")).json() == {"shares": [], "next_cursor": None}
    first = await share(live, ann, tags=["winter", 'a "b"'])
    second = await share(live, bob, description="")
    await bob.ask("like_live_recipe", {"shareId": first["id"]})
    await ann.ask("comment_live_recipe", {"shareId": first["id"], "comment": "Yum"})
    response = await get(live, bob, "/feed")
    assert len(decoded(response, FeedResponse).shares) == 2
    assert response.json()["shares"] == [
        {**second, "likeCount": 0, "commentCount": 0, "liked": False},
        {**first, "likeCount": 1, "commentCount": 1, "liked": True},
    ]
    assert [item["liked"] for item in (await get(live, ann, "/feed")).json()["shares"]] == [
        False,
        False,
    ]
    await live.sql("delete from recipes where id = %(id)s", id=first["recipeId"])
    remaining = decoded(await get(live, ann, "/feed"), FeedResponse).shares
    assert [item.recipe_id is None for item in remaining] == [False, True]


async def test_comments_are_read_back_as_they_were_sent(live: LiveServer) -> None:
    ann, bob = await live.connect("Ann"), await live.connect("Bob", plain=True)
    shared, other = await share(live, ann), await share(live, bob)
    path = f"/feed/{shared['id']}/comments"
    sent: list[dict[str, Any]] = []
    for author, text in ((ann, "Yum"), (bob, "Too\nhot")):
        await author.ask("comment_live_recipe", {"shareId": shared["id"], "comment": text})
        sent.insert(0, await ann.expect("live_recipe_commented"))
    response = await get(live, bob, path)
    assert len(decoded(response, ShareCommentListResponse).comments) == 2
    comments = response.json()["comments"]
    assert len({comment.pop("id") for comment in comments}) == 2
    assert comments == sent
    response = await get(live, bob, f"/feed/{other['id']}/comments")
    assert response.json() == {"comments": [], "next_cursor": None}


async def test_feed_and_comments_are_read_page_by_page(live: LiveServer) -> None:
    ann = await live.connect("Ann")
    # Two shares of each time.
    await live.sql(
        "insert into live_recipe_shares (id, user_id, title, created_at)"
        " select 'share_' || n, %(ann)s, n::text, timestamptz '2026-01-01Z' + n / 2 * interval '1s'"
        " from generate_series(1, 9) n",
        ann=ann.id,
    )
    await live.sql(
        "insert into live_recipe_comments (share_id, user_id, comment, created_at)"
        " select 'share_1', %(ann)s, n::text, '2026-01-01T00:00:00.000001Z'"
        " from generate_series(1, 5) n",
        ann=ann.id,
    )
    read = partial(get, live, ann)
    pages = await walk(read, "/feed", "shares", 4)
    assert [[item["title"] for item in page] for page in pages] == [
        ["9", "8", "7", "6"],
        ["5", "4", "3", "2"],
        ["1"],
    ]
    assert [len(page) for page in await walk(read, "/feed", "shares", 3)] == [3, 3, 3]
    pages = await walk(read, "/feed/share_1/comments", "comments", 2)
    assert [len(page) for page in pages] == [2, 2, 1]
    assert {item["comment"] for page in pages for item in page} == set("12345")


async def test_guests_and_unknown_shares_are_rejected(live: LiveServer) -> None:
    ann = await live.connect("Ann")
    for path in ("/feed", "/feed/share_1/comments"):
        assert (await live.server.http.get(path)).status_code == 401
    response = await get(live, ann, "/feed/share_none/comments")
    assert (response.status_code, response.json()["message"]) == (404, "Live recipe not found")
    for path in ("/feed", "/feed/share_none/comments"):
        response = await get(live, ann, path, params={"cursor": "x"})
        assert (response.status_code, response.json()["details"]["field"]) == (400, "cursor")
