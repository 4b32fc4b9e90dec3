"""Blocks, reports and decisions, on the whole program with connected clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, LiteralString

import httpx
import msgspec
import pytest
import trio
import trio.lowlevel

from cookcam.database import Database
from cookcam.errors import InsufficientPermissions
from cookcam.features.social.moderation.responses import BlockedUsersResponse, ReportListResponse
from tests.features.conftest import ApiUser
from tests.identity.project import new_user
from tests.support.live_clients import LiveClient, LiveServer, open_live_server
from tests.support.users import create_user, person

NOT_ACTIVE = "Cooking session not found or inactive"


@pytest.fixture
async def live(database_url: str) -> AsyncIterator[LiveServer]:
    limits = {
        f"SOCKET_{name}": "1000"
        for name in (
            "EVENTS_PER_SECOND",
            "BROADCASTS_PER_MINUTE",
            "MESSAGES_PER_SECOND",
            "REACTIONS_PER_MINUTE",
            "COLLAB_REQUESTS_PER_MINUTE",
            "COLLAB_REQUESTS_PER_TARGET",
        )
    }
    async with open_live_server(database_url, ENABLE_RATE_LIMITING="false", **limits) as live:
        yield live


@pytest.fixture
async def http(live: LiveServer) -> AsyncIterator[httpx.AsyncClient]:
    base = f"http://127.0.0.1:{live.server.port}"
    async with httpx.AsyncClient(base_url=base, timeout=30) as client:
        yield client


def api(live: LiveServer, http: httpx.AsyncClient, client: LiveClient) -> ApiUser:
    return ApiUser(http, live.gotrue.issue_token(client.user), client.user)


async def moderator(live: LiveServer, http: httpx.AsyncClient) -> ApiUser:
    user = await new_user(live.gotrue, "Ada", "admin")
    return ApiUser(http, live.gotrue.issue_token(user), user)


async def ok(response: httpx.Response) -> Any:
    assert response.status_code in (200, 201), response.text
    return response.json()


async def session_of(live: LiveServer, host: LiveClient) -> str:
    recipe = await live.recipe(host.user)
    data = {"recipeId": recipe, "title": "Tonight", "isPublic": True}
    await host.ask("create_cooking_session", data)
    return (await host.expect("cooking_session_created"))["session"]["id"]


async def share(live: LiveServer, author: LiveClient) -> str:
    recipe = await live.recipe(author.user)
    await author.ask(
        "share_recipe_live", {"recipeId": recipe, "title": "Soup", "description": "Hot"}
    )
    while True:
        shared = await author.expect("live_recipe_shared")
        if shared["userId"] == author.id:
            return shared["id"]


async def test_blocked_users_do_not_exist_for_each_other(live: LiveServer, http: httpx.AsyncClient):
    sockets = [await live.connect(name) for name in ("Annika", "Bob", "Cid")]
    ann, bob, cid = (api(live, http, socket) for socket in sockets)
    recipe, share_id = await live.recipe(sockets[1].user), await share(live, sockets[1])
    await sockets[1].ask("comment_live_recipe", {"shareId": share_id, "comment": "Mine"})
    cids = await share(live, sockets[2])
    await sockets[1].ask("comment_live_recipe", {"shareId": cids, "comment": "Rude"})
    for follower, followed in ((ann, bob), (bob, ann), (cid, bob), (cid, ann)):
        await ok(await follower.post(f"/users/{followed.id}/follow"))

    assert (await ann.post(f"/users/{ann.id}/block")).status_code == 400
    assert (await ann.post(f"/users/{recipe}/block")).status_code == 404
    for _ in range(2):
        assert await ok(await ann.post(f"/users/{bob.id}/block")) == {
            "success": True, "blocked": True
        }  # fmt: skip
    page = await ok(await ann.get("/users/blocked"))
    msgspec.convert(page, BlockedUsersResponse)
    assert [(row["id"], row["name"]) for row in page["blocked"]] == [(bob.id, "Bob")]
    assert (await ok(await bob.get("/users/blocked")))["blocked"] == []

    for one, other in ((ann, bob), (bob, ann)):
        assert (await one.get(f"/users/{other.id}")).status_code == 404
        assert (await one.post(f"/users/{other.id}/follow")).status_code == 404
        assert (await one.get(f"/users/{other.id}/followers")).status_code == 404
        followers = (await ok(await one.get(f"/users/{cid.id}/following")))["following"]
        assert other.id not in str(followers)
        assert one.id in str(followers)
        name = "Bob" if other is bob else "Annika"
        found = (await ok(await one.get("/users", params={"search": name, "limit": 50})))["users"]
        assert other.id not in {user["id"] for user in found}
    follows = await live.sql(
        "select follower_id::text, following_id::text from user_follows"
        " where follower_id = any(%(ids)s::uuid[]) order by 2",
        ids=[ann.id, bob.id, cid.id],
    )
    assert set(follows) == {(cid.id, ann.id), (cid.id, bob.id)}

    assert (await ann.get(f"/recipes/{recipe}")).status_code == 404
    assert (await cid.get(f"/recipes/{recipe}")).status_code == 200
    feed = (await ok(await ann.get("/feed", params={"limit": 100})))["shares"]
    assert share_id not in {row["id"] for row in feed}
    comments = (await ok(await ann.get(f"/feed/{cids}/comments")))["comments"]
    assert comments == []
    assert len((await ok(await cid.get(f"/feed/{cids}/comments")))["comments"]) == 1
    assert (await ann.get(f"/feed/{share_id}/comments")).status_code == 404
    for event, data in (("like_live_recipe", {}), ("comment_live_recipe", {"comment": "x"})):
        reply = await sockets[0].ask(event, {"shareId": share_id, **data})
        assert reply["error"] == "Live recipe not found"

    await ok(await ann.delete(f"/users/{bob.id}/block"))
    await ok(await ann.delete(f"/users/{bob.id}/block"))
    assert (await ann.get(f"/users/{bob.id}")).status_code == 200
    assert (await ann.get(f"/recipes/{recipe}")).status_code == 200
    assert await ok(await ann.post(f"/users/{bob.id}/follow"))


async def test_live_events_of_a_blocked_user_do_not_arrive(
    live: LiveServer, http: httpx.AsyncClient
):
    ann, bob, cid = [await live.connect(name) for name in ("Ann", "Bob", "Cid")]
    anns, bobs, cids = [await session_of(live, host) for host in (ann, bob, cid)]
    for guest, session in ((bob, anns), (ann, bobs), (ann, cids), (bob, cids)):
        await guest.ask("join_cooking_session", {"sessionId": session})
        await guest.expect("cooking_session_joined")
    await ok(await api(live, http, ann).post(f"/users/{bob.id}/block"))
    # Each left what the other hosts; both stay in Cid's session.
    for host, guest, session in ((ann, bob, anns), (bob, ann, bobs)):
        left = await host.expect("user_left_session")
        assert (left["sessionId"], left["userId"]) == (session, guest.id)
        reply = await guest.ask("join_cooking_session", {"sessionId": session})
        assert reply["error"] == NOT_ACTIVE

    ann.events.clear()
    await bob.ask("cooking_session_message", {"sessionId": cids, "message": "hidden"})
    await share(live, bob)
    await bob.ask("update_cooking_status", {"status": "cooking"})
    recipe = await live.recipe(bob.user)
    collab = {"targetUserId": ann.id, "recipeId": recipe, "message": "Hi"}
    assert await bob.ask("request_recipe_collab", collab) == {"ok": True}
    await bob.ask(
        "create_cooking_session",
        {"recipeId": recipe, "title": "Come", "invitedUserIds": [ann.id, cid.id]},
    )
    private = (await bob.expect("cooking_session_created"))["session"]["id"]
    assert (await cid.expect("cooking_message"))["message"] == "hidden"
    await cid.ask("cooking_session_message", {"sessionId": cids, "message": "for all"})
    assert (await ann.expect("cooking_message"))["message"] == "for all"
    assert await ann.seen() == []
    invited = await live.sql(
        "select user_id::text from live_cooking_participants where session_id = %(id)s"
        " order by user_id <> %(host)s::uuid",
        id=private,
        host=bob.id,
    )
    assert invited == [(bob.id,), (cid.id,)]
    reply = await ann.ask("join_cooking_session", {"sessionId": private})
    assert reply["error"] == NOT_ACTIVE
    history = await ok(await api(live, http, ann).get(f"/cooking-sessions/{cids}/messages"))
    assert [row["message"] for row in history["messages"]] == ["for all"]


async def test_no_message_arrives_after_the_answer_to_a_block(
    live: LiveServer, http: httpx.AsyncClient
):
    host = await live.connect("Host")
    session = await session_of(live, host)
    for turn in range(3):
        ann, bob = await live.connect("Ann"), await live.connect("Bob")
        for guest in (ann, bob):
            await guest.ask("join_cooking_session", {"sessionId": session})
            await guest.expect("cooking_session_joined")
        blocker = api(live, http, ann)

        async def talk(bob: LiveClient = bob) -> None:
            for number in range(12):
                data = {"sessionId": session, "message": f"message {number}"}
                await bob.send("cooking_session_message", data)
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            with trio.fail_after(10):
                while not any(name == "cooking_message" for name, _ in ann.events):
                    await trio.sleep(0.001)
            await ok(await blocker.post(f"/users/{bob.id}/block"))
            # Events that were sent before the answer are in the client's socket.
            await ann.seen()
            before = sum(name == "cooking_message" for name, _ in ann.events)
        await bob.ask("cooking_session_message", {"sessionId": session, "message": "last"})
        await host.ask("cooking_session_message", {"sessionId": session, "message": f"end {turn}"})
        with trio.fail_after(10):
            while not any(data.get("message") == f"end {turn}" for _, data in ann.events):
                await trio.sleep(0.005)
        after = sum(name == "cooking_message" for name, _ in ann.events) - 1
        assert after == before
        for guest in (ann, bob):
            await guest.ask("leave_cooking_session", {"sessionId": session})


async def test_reports_are_decided_and_both_sides_are_notified(
    live: LiveServer, http: httpx.AsyncClient
):
    ann, bob, cid = [await live.connect(name) for name in ("Ann", "Bob", "Cid")]
    reporter, second, author = (api(live, http, client) for client in (ann, cid, bob))
    admin = await moderator(live, http)
    recipe, share_id = await live.recipe(bob.user), await share(live, bob)
    session = await session_of(live, bob)
    await ann.ask("join_cooking_session", {"sessionId": session})
    await bob.ask("comment_live_recipe", {"shareId": share_id, "comment": "Rude comment"})
    await bob.ask("cooking_session_message", {"sessionId": session, "message": "Rude message"})
    seq = (await ann.expect("cooking_message"))["seq"]
    comments = f"/feed/{share_id}/comments"
    comment = (await ok(await reporter.get(comments)))["comments"][0]["id"]
    [(photo,)] = await live.sql(
        "insert into recipe_completion_photos (user_id, recipe_id, photo_url)"
        " values (%(user)s, %(recipe)s, 'https://x.test/a.jpg') returning id::text",
        user=bob.id,
        recipe=recipe,
    )
    rated = {"rating": 5, "review": "Rude review"}
    await ok(await author.post(f"/recipes/{recipe}/rate", rated))
    targets = {
        "review": f"{recipe}/{bob.id}",
        "recipe": recipe,
        "photo": photo,
        "comment": comment,
        "message": f"{session}/{seq}",
        "user": bob.id,
    }
    reports: dict[str, str] = {}
    for kind, target in targets.items():
        body = {"target_type": kind, "target_id": target, "reason": "hate", "details": " Bad \x07"}
        reports[kind] = (await ok(await reporter.post("/reports", body)))["report_id"]
        again = await ok(await reporter.post("/reports", {**body, "reason": "spam"}))
        assert again["report_id"] == reports[kind]
        own = await author.post("/reports", body)
        assert (own.status_code, own.json()["details"]["field"]) == (400, "target_id")
        unknown = await reporter.post("/reports", {**body, "target_id": "soup"})
        assert unknown.status_code == 404, kind
    await ok(await second.post(
        "/reports", {"target_type": "comment", "target_id": comment, "reason": "other"}
    ))  # fmt: skip
    # A message of a session that the reporter may not read does not exist.
    await live.sql(
        "update live_cooking_sessions set is_public = false where id = %(id)s", id=session
    )
    body = {"target_type": "message", "target_id": targets["message"], "reason": "spam"}
    assert (await second.post("/reports", body)).status_code == 404

    for path, method in (
        ("/moderation/reports", "GET"),
        (f"/moderation/reports/{photo}/decision", "POST"),
    ):
        response = await reporter.request(method, path, json={"decision": "hide"})
        assert (response.status_code, response.json()["error"]) == (403, "Admin access required")
    page = await ok(await admin.get("/moderation/reports", params={"limit": 100}))
    msgspec.convert(page, ReportListResponse)
    queue = {row["id"]: row for row in page["reports"]}
    row = queue[reports["comment"]]
    assert (row["content"], row["author_name"], row["reports"]) == ("Rude comment", "Bob", 2)
    assert (row["reason"], row["details"], row["status"]) == ("hate", "Bad", "open")
    assert queue[reports["message"]]["content"] == "Rude message"
    assert queue[reports["review"]]["content"] == "Rude review"

    async def decide(kind: str, decision: str) -> httpx.Response:
        path = f"/moderation/reports/{reports[kind]}/decision"
        return await admin.post(path, {"decision": decision, "note": "seen"})

    async def notices(client: LiveClient) -> dict[str, Any]:
        notice = await client.expect("user_notification")
        return {"type": notice["type"], **notice["data"]}

    assert await ok(await decide("comment", "hide")) == {
        "success": True, "status": "upheld", "closed": 2
    }  # fmt: skip
    for client in (ann, cid):
        notice = await notices(client)
        assert (notice["type"], notice["upheld"]) == ("report_decided", True)
    notice = await notices(bob)
    assert (notice["type"], notice["hidden"], notice["reason"]) == (
        "content_moderated", True, "hate"
    )  # fmt: skip
    assert "reporter" not in str(notice)
    assert (await decide("comment", "hide")).status_code == 409
    assert (await ok(await reporter.get(comments)))["comments"] == []
    assert len((await ok(await author.get(comments)))["comments"]) == 1
    await ok(await decide("comment", "restore"))
    assert len((await ok(await reporter.get(comments)))["comments"]) == 1

    inbox = (await ok(await reporter.get("/notifications")))["notifications"]
    assert [(item["type"], item["data"]["upheld"]) for item in inbox] == [
        ("report_decided", False), ("report_decided", True)
    ]  # fmt: skip
    inbox = (await ok(await author.get("/notifications")))["notifications"]
    assert [item["data"]["hidden"] for item in inbox if item["type"] == "content_moderated"] == [
        False, True
    ]  # fmt: skip

    reviews = f"/recipes/{recipe}/reviews"
    for kind in ("message", "photo", "review"):
        await ok(await decide(kind, "hide"))
    assert (await ok(await reporter.get(reviews)))["reviews"] == []
    assert len((await ok(await author.get(reviews)))["reviews"]) == 1
    await ok(await decide("recipe", "hide"))
    messages = f"/cooking-sessions/{session}/messages"
    assert (await ok(await reporter.get(messages)))["messages"] == []
    assert len((await ok(await author.get(messages)))["messages"]) == 1
    assert (await reporter.get(f"/recipes/{recipe}")).status_code == 404
    published = await author.put(f"/recipes/{recipe}", {"is_published": True})
    assert published.status_code == 400
    await ok(await decide("recipe", "restore"))
    assert (await reporter.get(f"/recipes/{recipe}")).status_code == 200
    photos = f"/recipes/{recipe}/completion-photos"
    assert (await ok(await reporter.get(photos)))["total"] == 0
    assert (await ok(await author.get(photos)))["total"] == 1

    # A hidden user and all that the user wrote is seen by nobody else.
    assert (await http.get(f"/api/v1/recipes/{recipe}")).status_code == 200
    await ok(await decide("user", "hide"))
    assert (await http.get(f"/api/v1/users/{bob.id}")).status_code == 404
    assert (await http.get(f"/api/v1/recipes/{recipe}")).status_code == 404
    assert (await reporter.get(comments)).status_code == 404
    assert (await author.get(f"/users/{bob.id}")).status_code == 200
    actions = await live.sql(
        "select a.action, a.target_type from moderation_actions a where moderator_id = %(id)s"
        " order by a.id",
        id=admin.id,
    )
    assert actions == [
        ("hide", "comment"), ("restore", "comment"), ("hide", "message"), ("hide", "photo"),
        ("hide", "review"), ("hide", "recipe"), ("restore", "recipe"), ("hide", "user"),
    ]  # fmt: skip
    dismissed = await ok(await admin.get("/moderation/reports?status=dismissed&limit=100"))
    assert {row["id"] for row in dismissed["reports"]} >= {reports["comment"], reports["recipe"]}


async def test_block_removes_notifications_of_the_other(live: LiveServer, http: httpx.AsyncClient):
    ann, bob, cid = [api(live, http, await live.connect(name)) for name in ("Ann", "Bob", "Cid")]
    for follower, followed in ((bob, ann), (ann, bob), (cid, ann)):
        await ok(await follower.post(f"/users/{followed.id}/follow"))

    async def followers(user: ApiUser) -> list[str]:
        inbox = (await ok(await user.get("/notifications")))["notifications"]
        unread = (await ok(await user.get("/notifications/unread-count")))["unread"]
        assert unread == len(inbox)
        return [item["data"]["user"]["name"] for item in inbox if item["type"] == "new_follower"]

    assert (await followers(ann), await followers(bob)) == (["Cid", "Bob"], ["Ann"])
    await ok(await ann.post(f"/users/{bob.id}/block"))
    assert (await followers(ann), await followers(bob)) == (["Cid"], [])
    # As a comment writes it whose transaction ends after the block.
    await live.sql(
        "select notify_user(%(ann)s, 'comment', '-', '-', '{}', 'late', %(bob)s)",
        ann=ann.id,
        bob=bob.id,
    )
    before = len((await ok(await ann.get("/notifications")))["notifications"])
    await live.sql("update users set hidden_at = now() where id = %(id)s", id=cid.id)
    assert await followers(ann) == []
    await live.sql("update users set hidden_at = null where id = %(id)s", id=cid.id)
    assert len((await ok(await ann.get("/notifications")))["notifications"]) == before


async def test_log_of_moderators_forgets_deleted_users(live: LiveServer, http: httpx.AsyncClient):
    bob, admin = api(live, http, await live.connect("Bob")), await moderator(live, http)
    for kind, target in (("user", bob.id), ("review", f"{admin.id}/{bob.id}"), ("user", admin.id)):
        await live.sql(
            "insert into moderation_actions (action, target_type, target_id, note)"
            " values ('hide', %(kind)s, %(target)s, 'Bob again')",
            kind=kind,
            target=target,
        )
    await live.sql("delete from auth.users where id = %(id)s", id=bob.id)
    logged = await live.sql(
        "select target_id, note from moderation_actions where moderator_id is null"
        " and (target_id = any(%(targets)s)) order by id desc limit 3",
        targets=["deleted", f"{admin.id}/deleted", admin.id],
    )
    assert logged == [
        (admin.id, "Bob again"), (f"{admin.id}/deleted", None), ("deleted", None)
    ]  # fmt: skip


async def test_rows_of_blocks_and_reports_are_the_users_own(
    database: Database, database_url: str
) -> None:
    ann, bob = await create_user(database_url), await create_user(database_url)
    ids = {"ann": ann, "bob": bob}
    block = "insert into user_blocks (blocker_id, blocked_id) values (%(ann)s, %(bob)s)"
    count = "select count(*) from user_blocks where blocker_id = %(ann)s"
    async with database.transaction_as(person(ann)) as tx:
        await tx.execute(block, **ids)
        assert await tx.fetch_value(count, **ids) == 1
    async with database.transaction_as(person(bob)) as tx:
        assert await tx.fetch_value(count, **ids) == 0
    denied: tuple[LiteralString, ...] = (
        block.replace("%(ann)s, %(bob)s", "%(ann)s, gen_random_uuid()"),
        "insert into user_follows (follower_id, following_id) values (%(bob)s, %(ann)s)",
        "select count(*) from content_reports",
        "select count(*) from moderation_actions",
        "select safety.hidden_from(%(ann)s)",
    )
    for statement in denied:
        with pytest.raises(InsufficientPermissions):
            async with database.transaction_as(person(bob)) as tx:
                await tx.execute(statement, **ids)
