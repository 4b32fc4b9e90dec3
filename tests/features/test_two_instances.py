"""Two instances on one database: one kitchen, whoever is connected where, over either bus."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import httpx
import pytest
import trio
from attrs import define

from cookcam.realtime.accounts import INTERVAL
from tests.features.live import PATIENCE, Kitchen, LiveClient, kitchen_of, start_session
from tests.identity.project import open_project
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
async def kitchens(
    fresh_database_url: str, redis: RedisServer | None
) -> AsyncIterator[tuple[Kitchen, Kitchen]]:
    environ = {"HOST_GRACE_SECONDS": "1"}
    if redis is not None:
        environ["REDIS_URL"] = redis.url
    async with (
        open_project(fresh_database_url) as gotrue,
        kitchen_of(fresh_database_url, gotrue, **environ) as one,
        kitchen_of(fresh_database_url, gotrue, **environ) as two,
    ):
        await both_hear(one, two)
        yield one, two


async def bus_of(kitchen: Kitchen) -> str:
    answer = await kitchen.server.http.get("/health/detailed")
    return answer.json()["services"]["bus"]["status"]


async def both_hear(*kitchens: Kitchen) -> None:
    with trio.fail_after(2 * PATIENCE):
        for kitchen in kitchens:
            while await bus_of(kitchen) != "up":
                await trio.sleep(0.02)


@define
class Table:
    """A public session of Ann's with six at it, three on each instance, over both protocols."""

    session_id: str
    ann: LiveClient
    guests: list[LiveClient]

    @property
    def everybody(self) -> list[LiveClient]:
        return [self.ann, *self.guests]

    async def say(self, who: LiveClient, message: str) -> None:
        await who.send(
            "cooking_session_message", {"sessionId": self.session_id, "message": message}
        )

    async def step(self, number: int) -> None:
        await self.ann.send(
            "update_cooking_step", {"sessionId": self.session_id, "newStep": number}
        )


async def meet(one: Kitchen, two: Kitchen) -> Table:
    ann = await one.connect("Ann")
    session_id = (await start_session(one, ann, isPublic=True))["session"]["id"]
    table = Table(session_id, ann, [])
    places = [(one, True), (one, False), (two, True), (two, False), (two, True)]
    for name, (kitchen, plain) in zip(["Ben", "Cid", "Dan", "Eve", "Fay"], places, strict=True):
        guest = await kitchen.connect(name, plain=plain)
        await guest.send("join_cooking_session", {"sessionId": session_id})
        await guest.expect("cooking_session_joined")
        for other in table.everybody:
            joined = await other.expect("user_joined_session")
            assert joined["userId"] == guest.id
            assert joined["participantCount"] == len(table.everybody) + 1
        table.guests.append(guest)
    return table


async def test_a_room_spans_both(kitchens: tuple[Kitchen, Kitchen]) -> None:
    table = await meet(*kitchens)
    assert [await kitchen.connections() for kitchen in kitchens] == [3, 3]
    await table.step(2)
    steps = [await who.expect("cooking_step_updated") for who in table.everybody]
    assert steps == [steps[0]] * 6
    assert steps[0]["currentStep"] == 2
    for number, who in enumerate(table.everybody):
        await table.say(who, f"from {number}")
    heard = [[await who.expect("cooking_message") for _ in range(6)] for who in table.everybody]
    for messages in heard:
        messages.sort(key=lambda message: message["seq"])
    assert heard == [heard[0]] * 6
    assert {message["seq"] for message in heard[0]} == {steps[0]["seq"] + n for n in range(1, 7)}

    leaver = table.guests.pop()
    await leaver.send("leave_cooking_session", {"sessionId": table.session_id})
    for who in table.everybody:
        left = await who.expect("user_left_session")
        assert (left["userId"], left["participantCount"]) == (leaver.id, 5)
    await table.ann.send("leave_cooking_session", {"sessionId": table.session_id})
    for who in table.guests:
        assert (await who.expect("cooking_session_ended"))["reason"] == "Host left the session"
        refused = await who.ask(
            "cooking_session_message", {"sessionId": table.session_id, "message": "hello?"}
        )
        assert NOT_HERE in (refused.get("message"), refused.get("error"))


@pytest.mark.parametrize("kind", ["postgres"], indirect=True)
async def test_nobody_is_missed_who_is_on_the_other_instance(
    kitchens: tuple[Kitchen, Kitchen],
) -> None:
    """The host drops here and comes back there, within its grace."""
    one, two = kitchens
    table = await meet(one, two)
    await one.drop(table.ann)
    table.ann = await two.connect(table.ann.user)
    await table.ann.send("join_cooking_session", {"sessionId": table.session_id})
    await table.ann.expect("cooking_session_joined")
    await trio.sleep(2.5)  # longer than the grace, and than the look of either instance
    for guest in table.guests:
        assert "cooking_session_ended" not in await guest.seen()
    await table.step(1)
    for guest in table.guests:
        assert (await guest.expect("cooking_step_updated"))["currentStep"] == 1


@pytest.mark.parametrize("kind", ["redis"], indirect=True)
async def test_a_host_who_does_not_come_back_anywhere_ends_it_for_all(
    kitchens: tuple[Kitchen, Kitchen],
) -> None:
    one, two = kitchens
    table = await meet(one, two)
    await one.drop(table.ann)
    for guest in table.guests:
        await guest.expect("cooking_session_ended")


async def test_a_direct_message_finds_all_devices_of_its_user(
    kitchens: tuple[Kitchen, Kitchen],
) -> None:
    one, two = kitchens
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


async def ban(kitchen: Kitchen, user_id: UUID) -> None:
    """What an administrator does at the provider."""
    key = kitchen.gotrue.service_role_key
    async with httpx.AsyncClient(headers={"apikey": key, "Authorization": f"Bearer {key}"}) as http:
        url = f"{kitchen.gotrue.url}/auth/v1/admin/users/{user_id}"
        (await http.put(url, json={"ban_duration": "24h"})).raise_for_status()


async def delete(kitchen: Kitchen, user_id: UUID) -> None:
    await kitchen.sql("delete from auth.users where id = %(id)s", id=user_id)


@pytest.mark.parametrize(
    ("kind", "close"), [("postgres", ban), ("redis", delete)], indirect=["kind"]
)
async def test_a_closed_account_is_put_out_everywhere(
    kitchens: tuple[Kitchen, Kitchen], close
) -> None:
    one, two = kitchens
    ann = await one.connect("Ann")
    anns = [ann, *[await two.connect(ann.user, plain=plain) for plain in (False, True)]]
    anns.append(await one.connect(ann.user, plain=True))
    others = [await one.connect("Ben", plain=True), await two.connect("Cid")]
    await trio.sleep(2 * INTERVAL)  # all are looked up by now, and found to have accounts
    await close(one, ann.user.id)
    with trio.fail_after(PATIENCE):
        for device in anns:
            await device.closed.wait()
            assert device.socket.closed is not None
            assert device.socket.closed.code == 4403
    for other in others:
        await other.seen()  # still answered

    # The token's signature is still good; both instances refuse it.
    for kitchen in (one, two):
        headers = {"Authorization": f"Bearer {kitchen.gotrue.issue_token(ann.user)}"}
        answer = await kitchen.server.http.get("/recipes/saved/my", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "TOKEN_EXPIRED")


async def test_a_server_listens_after_it_has_joined_the_bus(
    fresh_database_url: str, redis: RedisServer | None
) -> None:
    environ = {"REDIS_URL": redis.url} if redis is not None else {}
    async with open_project(fresh_database_url) as gotrue:
        for _ in range(3):
            async with kitchen_of(fresh_database_url, gotrue, **environ) as kitchen:
                assert await bus_of(kitchen) == "up"


async def test_a_server_is_not_ready_before_it_has_joined_the_bus(
    kind: str, fresh_database_url: str
) -> None:
    if kind != "redis":
        pytest.skip("PostgreSQL is the database as well: readiness needs it in any case")
    with redis_server() as redis:
        async with (
            open_project(fresh_database_url) as gotrue,
            kitchen_of(fresh_database_url, gotrue, REDIS_URL=redis.url) as kitchen,
        ):
            http = kitchen.server.http
            assert (await http.get("/health")).status_code == 200
            ready = await http.get("/health/ready")
            assert ready.status_code == 503
            assert ready.json()["services"]["bus"] == {"status": "down", "error": "NOT_JOINED"}
            await redis.start()
            with trio.fail_after(2 * PATIENCE):
                while (await http.get("/health/ready")).status_code != 200:
                    await trio.sleep(0.05)


# A bus that is lost


@pytest.mark.parametrize("kind", ["redis"], indirect=True)
async def test_redis_killed_for_five_seconds(
    kitchens: tuple[Kitchen, Kitchen], redis: RedisServer
) -> None:
    """Nobody is dropped; what was missed shows as a gap in `seq`, which joining again repairs."""
    one, two = kitchens
    table = await meet(one, two)
    there = table.guests[2]
    await table.step(1)
    last = (await there.expect("cooking_step_updated"))["seq"]

    redis.kill()
    with trio.fail_after(PATIENCE):
        while {await bus_of(one), await bus_of(two)} != {"degraded"}:
            await trio.sleep(0.02)
    with trio.move_on_after(5):
        await table.step(2)
        assert (await table.ann.expect("cooking_step_updated"))["currentStep"] == 1
        assert (await table.ann.expect("cooking_step_updated"))["currentStep"] == 2
        while True:  # not a quiet time: every second somebody says something
            await table.say(table.ann, "anybody there?")
            await table.ann.expect("cooking_message")
            await trio.sleep(1)
    assert [await kitchen.connections() for kitchen in kitchens] == [3, 3]
    assert not {"cooking_step_updated", "cooking_message"} & set(await there.seen())

    await redis.start()
    await both_hear(one, two)
    with trio.fail_after(PATIENCE):  # until each knows again that the other is there
        while True:
            await table.say(table.ann, "back")
            if "cooking_message" in await there.seen():
                break
            await trio.sleep(0.2)
    assert (await there.expect("cooking_message"))["seq"] > last + 1
    await there.send("join_cooking_session", {"sessionId": table.session_id})
    state = (await there.expect("cooking_session_joined"))["session"]
    assert state["currentStep"] == 2
    assert state["seq"] > last + 1
    assert len(state["participants"]) == 6

    assert not any(who.closed.is_set() for who in table.everybody)
    # One connection to listen and one to speak for each instance, and no failed attempts beside.
    assert await redis.connections_received() <= 4
