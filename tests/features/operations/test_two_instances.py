"""Two instances on one database share rooms and messages, over either bus."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import httpx
import pytest
import trio
from attrs import define

from cookcam.realtime.accounts import INTERVAL
from tests.identity.project import open_project
from tests.support.live_clients import (
    EVENT_TIMEOUT,
    LiveClient,
    LiveServer,
    run_live_server,
    start_session,
)
from tests.support.redis import RedisServer, redis_server

NOT_HERE = "Cooking session not found or inactive"


@pytest.fixture(params=["postgres", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def redis(kind: str) -> AsyncIterator[RedisServer | None]:
    if kind != "redis":
        yield None
        return
    with redis_server() as server:
        await server.start()
        yield server


@pytest.fixture
async def instances(
    fresh_database_url: str, redis: RedisServer | None
) -> AsyncIterator[tuple[LiveServer, LiveServer]]:
    environ = {"HOST_GRACE_SECONDS": "1"}
    if redis is not None:
        environ["REDIS_URL"] = redis.url
    async with (
        open_project(fresh_database_url) as gotrue,
        run_live_server(fresh_database_url, gotrue, **environ) as one,
        run_live_server(fresh_database_url, gotrue, **environ) as two,
    ):
        await wait_until_connected(one, two)
        yield one, two


async def bus_of(live: LiveServer) -> str:
    answer = await live.server.http.get("/health/detailed")
    return answer.json()["services"]["bus"]["status"]


async def wait_until_connected(*instances: LiveServer) -> None:
    with trio.fail_after(2 * EVENT_TIMEOUT):
        for live in instances:
            while await bus_of(live) != "up":
                await trio.sleep(0.02)


@define
class SharedSession:
    """A public session of Ann's with six at it, three on each instance, over both protocols."""

    session_id: str
    ann: LiveClient
    guests: list[LiveClient]

    @property
    def all_clients(self) -> list[LiveClient]:
        return [self.ann, *self.guests]

    async def say(self, who: LiveClient, message: str) -> None:
        await who.send(
            "cooking_session_message", {"sessionId": self.session_id, "message": message}
        )

    async def step(self, number: int) -> None:
        await self.ann.send(
            "update_cooking_step", {"sessionId": self.session_id, "newStep": number}
        )


async def open_shared_session(one: LiveServer, two: LiveServer) -> SharedSession:
    ann = await one.connect("Ann")
    session_id = (await start_session(one, ann, isPublic=True))["session"]["id"]
    shared = SharedSession(session_id, ann, [])
    places = [(one, True), (one, False), (two, True), (two, False), (two, True)]
    for name, (live, plain) in zip(["Ben", "Cid", "Dan", "Eve", "Fay"], places, strict=True):
        guest = await live.connect(name, plain=plain)
        await guest.send("join_cooking_session", {"sessionId": session_id})
        await guest.expect("cooking_session_joined")
        for other in shared.all_clients:
            joined = await other.expect("user_joined_session")
            assert joined["userId"] == guest.id
            assert joined["participantCount"] == len(shared.all_clients) + 1
        shared.guests.append(guest)
    return shared


async def test_room_spans_both_instances(instances: tuple[LiveServer, LiveServer]) -> None:
    shared = await open_shared_session(*instances)
    assert [await live.connections() for live in instances] == [3, 3]
    await shared.step(2)
    steps = [await who.expect("cooking_step_updated") for who in shared.all_clients]
    assert steps == [steps[0]] * 6
    assert steps[0]["currentStep"] == 2
    for number, who in enumerate(shared.all_clients):
        await shared.say(who, f"from {number}")
    received = [
        [await who.expect("cooking_message") for _ in range(6)] for who in shared.all_clients
    ]
    for messages in received:
        messages.sort(key=lambda message: message["seq"])
    assert received == [received[0]] * 6
    assert {message["seq"] for message in received[0]} == {steps[0]["seq"] + n for n in range(1, 7)}

    leaver = shared.guests.pop()
    await leaver.send("leave_cooking_session", {"sessionId": shared.session_id})
    for who in shared.all_clients:
        left = await who.expect("user_left_session")
        assert (left["userId"], left["participantCount"]) == (leaver.id, 5)
    await shared.ann.send("leave_cooking_session", {"sessionId": shared.session_id})
    for who in shared.guests:
        assert (await who.expect("cooking_session_ended"))["reason"] == "Host left the session"
        rejected = await who.ask(
            "cooking_session_message", {"sessionId": shared.session_id, "message": "hello?"}
        )
        assert NOT_HERE in (rejected.get("message"), rejected.get("error"))


@pytest.mark.parametrize("kind", ["postgres"], indirect=True)
async def test_user_connected_to_the_other_instance_is_present(
    instances: tuple[LiveServer, LiveServer],
) -> None:
    """The host drops here and comes back there, within its grace."""
    one, two = instances
    shared = await open_shared_session(one, two)
    await one.drop(shared.ann)
    shared.ann = await two.connect(shared.ann.user)
    await shared.ann.send("join_cooking_session", {"sessionId": shared.session_id})
    await shared.ann.expect("cooking_session_joined")
    await trio.sleep(2.5)  # longer than the grace, and than the look of either instance
    for guest in shared.guests:
        assert "cooking_session_ended" not in await guest.seen()
    await shared.step(1)
    for guest in shared.guests:
        assert (await guest.expect("cooking_step_updated"))["currentStep"] == 1


@pytest.mark.parametrize("kind", ["redis"], indirect=True)
async def test_absent_host_ends_the_session_on_both_instances(
    instances: tuple[LiveServer, LiveServer],
) -> None:
    one, two = instances
    shared = await open_shared_session(one, two)
    await one.drop(shared.ann)
    for guest in shared.guests:
        await guest.expect("cooking_session_ended")


async def test_direct_message_reaches_all_devices_on_both_instances(
    instances: tuple[LiveServer, LiveServer],
) -> None:
    one, two = instances
    ann, ben = await one.connect("Ann"), await two.connect("Ben", plain=True)
    bens = [ben, await one.connect(ben.user), await two.connect(ben.user)]
    bystander = await two.connect("Eve")
    request = {
        "targetUserId": ben.id,
        "recipeId": await one.recipe(ann.user),
        "message": "cook with me",
    }
    await ann.send("request_recipe_collab", request)
    for device in bens:
        assert (await device.expect("recipe_collab_request"))["fromUserId"] == ann.id
    assert "recipe_collab_request" not in await bystander.seen()


# Accounts that end


async def ban(live: LiveServer, user_id: UUID) -> None:
    """What an administrator does at the provider."""
    key = live.gotrue.service_role_key
    async with httpx.AsyncClient(headers={"apikey": key, "Authorization": f"Bearer {key}"}) as http:
        url = f"{live.gotrue.url}/auth/v1/admin/users/{user_id}"
        (await http.put(url, json={"ban_duration": "24h"})).raise_for_status()


async def delete(live: LiveServer, user_id: UUID) -> None:
    await live.sql("delete from auth.users where id = %(id)s", id=user_id)


@pytest.mark.parametrize(
    ("kind", "close"), [("postgres", ban), ("redis", delete)], indirect=["kind"]
)
async def test_closed_account_is_disconnected_from_both_instances(
    instances: tuple[LiveServer, LiveServer], close
) -> None:
    one, two = instances
    ann = await one.connect("Ann")
    anns = [ann, *[await two.connect(ann.user, plain=plain) for plain in (False, True)]]
    anns.append(await one.connect(ann.user, plain=True))
    others = [await one.connect("Ben", plain=True), await two.connect("Cid")]
    await trio.sleep(2 * INTERVAL)  # all are looked up by now, and found to have accounts
    await close(one, ann.user.id)
    with trio.fail_after(EVENT_TIMEOUT):
        for device in anns:
            await device.closed.wait()
            assert device.socket.closed is not None
            assert device.socket.closed.code == 4403
    for other in others:
        await other.seen()  # still answered

    # The token's signature is still good; both instances refuse it.
    for live in (one, two):
        headers = {"Authorization": f"Bearer {live.gotrue.issue_token(ann.user)}"}
        response = await live.server.http.get("/recipes/saved/my", headers=headers)
        assert (response.status_code, response.json()["code"]) == (401, "TOKEN_EXPIRED")


async def test_a_server_listens_after_it_has_joined_the_bus(
    fresh_database_url: str, redis: RedisServer | None
) -> None:
    environ = {"REDIS_URL": redis.url} if redis is not None else {}
    async with open_project(fresh_database_url) as gotrue:
        for _ in range(3):
            async with run_live_server(fresh_database_url, gotrue, **environ) as live:
                assert await bus_of(live) == "up"


# With the PostgreSQL bus, readiness needs the database of the bus in any case.
@pytest.mark.parametrize("kind", ["redis"])
async def test_a_server_is_not_ready_before_it_has_joined_the_bus(
    kind: str, fresh_database_url: str
) -> None:
    with redis_server() as redis:
        async with (
            open_project(fresh_database_url) as gotrue,
            run_live_server(fresh_database_url, gotrue, REDIS_URL=redis.url) as live,
        ):
            http = live.server.http
            assert (await http.get("/health")).status_code == 200
            ready = await http.get("/health/ready")
            assert ready.status_code == 503
            assert ready.json()["services"]["bus"] == {"status": "down", "error": "NOT_JOINED"}
            await redis.start()
            with trio.fail_after(2 * EVENT_TIMEOUT):
                while (await http.get("/health/ready")).status_code != 200:
                    await trio.sleep(0.05)


# A bus that is lost


@pytest.mark.parametrize("kind", ["redis"], indirect=True)
async def test_redis_outage_of_five_seconds(
    instances: tuple[LiveServer, LiveServer], redis: RedisServer
) -> None:
    """No client is disconnected. Missed events show as a gap in `seq`; joining again repairs it."""
    one, two = instances
    shared = await open_shared_session(one, two)
    there = shared.guests[2]
    await shared.step(1)
    last = (await there.expect("cooking_step_updated"))["seq"]

    redis.kill()
    with trio.fail_after(EVENT_TIMEOUT):
        while {await bus_of(one), await bus_of(two)} != {"degraded"}:
            await trio.sleep(0.02)
    with trio.move_on_after(5):
        await shared.step(2)
        assert (await shared.ann.expect("cooking_step_updated"))["currentStep"] == 1
        assert (await shared.ann.expect("cooking_step_updated"))["currentStep"] == 2
        while True:  # the room is not idle: there is a message every second
            await shared.say(shared.ann, "still there?")
            await shared.ann.expect("cooking_message")
            await trio.sleep(1)
    assert [await live.connections() for live in instances] == [3, 3]
    assert not {"cooking_step_updated", "cooking_message"} & set(await there.seen())

    await redis.start()
    await wait_until_connected(one, two)
    with trio.fail_after(EVENT_TIMEOUT):  # until each knows again that the other is there
        while True:
            await shared.say(shared.ann, "back")
            if "cooking_message" in await there.seen():
                break
            await trio.sleep(0.2)
    assert (await there.expect("cooking_message"))["seq"] > last + 1
    await there.send("join_cooking_session", {"sessionId": shared.session_id})
    state = (await there.expect("cooking_session_joined"))["session"]
    assert state["currentStep"] == 2
    assert state["seq"] > last + 1
    assert len(state["participants"]) == 6

    assert not any(who.closed.is_set() for who in shared.all_clients)
    # One connection to listen and one to speak for each instance, and no failed attempts beside.
    assert await redis.connections_received() <= 4
