"""The inbox on the whole program: from what happened to the list, the sockets and the deletion."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from attrs import frozen

from tests.features.conftest import ApiUser
from tests.support.live_clients import LiveClient, LiveServer, open_live_server
from tests.support.social import UNKNOWN, refused


@frozen
class Person:
    """A user with a connected device."""

    api: ApiUser
    device: LiveClient

    async def inbox(self, **params: Any) -> list[dict[str, Any]]:
        response = await self.api.get("/notifications", params=params)
        assert response.status_code == 200, response.text
        return response.json()["notifications"]

    async def unread(self) -> int:
        return (await self.api.get("/notifications/unread-count")).json()["unread"]


@pytest.fixture
async def live(database_url: str) -> AsyncIterator[LiveServer]:
    async with open_live_server(database_url) as opened:
        yield opened


@pytest.fixture
async def http(live: LiveServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=live.server.url, timeout=30) as opened:
        yield opened


async def person(live: LiveServer, http: httpx.AsyncClient, name: str) -> Person:
    user = await live.person(name)
    api = ApiUser(http, live.gotrue.issue_token(user), user)
    return Person(api, await live.connect(user))


async def test_follow_comment_review_and_level_reach_the_inbox_and_the_sockets(
    live: LiveServer, http: httpx.AsyncClient
):
    ann, bob = await person(live, http, "Ann"), await person(live, http, "Bob")
    card = {"id": bob.api.id, "name": "Bob", "avatar_url": None, "level": 1}

    for _ in range(3):  # follows, unfollows, follows again
        assert (await bob.api.post(f"/users/{ann.api.id}/follow")).status_code == 200
    followed = await ann.device.expect("user_notification")
    assert (followed["type"], followed["body"]) == ("new_follower", "Bob follows you now.")
    assert followed["data"] == {"user": card}

    recipe = await live.recipe(ann.device.user, title="Leek soup")
    reply = await ann.device.ask(
        "share_recipe_live", {"recipeId": recipe, "title": "Leek soup", "description": ""}
    )
    assert reply == {"ok": True}
    share = await bob.device.expect("live_recipe_shared")
    for commenter in (ann, bob):  # nobody is notified of an own comment
        await commenter.device.ask("comment_live_recipe", {"shareId": share["id"], "comment": "!"})
    commented = await ann.device.expect("user_notification")
    assert (commented["type"], commented["body"]) == ("comment", "Bob commented on Leek soup.")
    assert commented["data"].items() >= {"user": card, "share_id": share["id"]}.items()

    for stars, review in ((4, None), (5, "Good"), (3, "Too salty")):
        body = {"rating": stars} | ({"review": review} if review else {})
        response = await bob.api.post(f"/recipes/{recipe}/rate", body)
        assert response.status_code == 200, response.text
    reviewed = await ann.device.expect("user_notification")
    assert (reviewed["type"], reviewed["body"]) == ("review", "Bob reviewed Leek soup.")
    assert reviewed["data"] == {"user": card, "recipe_id": recipe}

    await live.sql("update users set total_xp = 155 where id = %(id)s", id=ann.api.id)
    claim = {"xp_amount": 5, "action": "DAILY_CHECK_IN"}
    assert (await ann.api.post("/gamification/add-xp", claim)).status_code == 200
    level = await ann.device.expect("user_notification")
    assert (level["type"], level["title"]) == ("level_up", "Level 2 reached!")
    assert level["data"]["new_level"] == 2

    sent = [level, reviewed, commented, followed]
    inbox = await ann.inbox()
    for item in inbox:
        assert item.pop("read") is False
        item["timestamp"] = item.pop("created_at")
    assert inbox == sent
    assert await bob.inbox() == []
    assert await ann.unread() == 4

    # Bob's account is deleted: what names Bob goes too.
    await live.sql("delete from auth.users where id = %(id)s", id=bob.api.id)
    assert [item["type"] for item in await ann.inbox()] == ["level_up"]


async def test_notifications_are_paged_read_and_deleted_by_their_owner_alone(
    live: LiveServer, http: httpx.AsyncClient
):
    ann, bob = await person(live, http, "Ann"), await person(live, http, "Bob")
    await live.sql(
        "insert into notification_logs (user_id, type, title, body, expires_at)"
        " select %(id)s, 'hint', 'Hint ' || n, 'x', now() + interval '1 hour'"
        " from generate_series(1, 5) n",
        id=ann.api.id,
    )
    titles: list[str] = []
    cursor = ""
    while cursor is not None:
        page = (await ann.api.get("/notifications", params={"limit": 2, "cursor": cursor})).json()
        titles += [item["title"] for item in page["notifications"]]
        cursor = page["next_cursor"]
    assert sorted(titles) == [f"Hint {n}" for n in range(1, 6)]
    assert len(titles) == 5

    first, second, *_ = await ann.inbox()
    for changed in (1, 0):
        response = await ann.api.post(f"/notifications/{first['id']}/read")
        assert (response.status_code, response.json()) == (
            200,
            {"success": True, "changed": changed},
        )
    assert await ann.unread() == 4
    assert len(await ann.inbox(unread="true")) == 4

    response = await ann.api.request("DELETE", f"/notifications/{second['id']}")
    assert response.json() == {"success": True, "changed": 1}
    assert second["id"] not in {item["id"] for item in await ann.inbox()}
    for other in (first["id"], second["id"], UNKNOWN, str(uuid4()), "7"):
        read = await bob.api.post(f"/notifications/{other}/read")
        refused(read, 404, "Notification not found")
        deleted = await bob.api.request("DELETE", f"/notifications/{other}")
        refused(deleted, 404, "Notification not found")
    assert (await bob.api.post("/notifications/read-all")).json()["changed"] == 0

    assert (await ann.api.post("/notifications/read-all")).json() == {"success": True, "changed": 3}
    assert await ann.unread() == 0
    response = await ann.api.request("DELETE", "/notifications")
    assert response.json() == {"success": True, "changed": 4}
    assert await ann.inbox() == []
    for path in ("/notifications", "/notifications/unread-count"):
        assert (await live.server.http.get(path)).status_code == 401
    assert (await ann.api.get("/notifications", params={"cursor": "x"})).status_code == 400
