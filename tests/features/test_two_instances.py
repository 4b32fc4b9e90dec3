"""Two instances on one database: one kitchen, whoever is connected where."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from tests.features.live import Kitchen, LiveClient, kitchen_of, start_session
from tests.identity.project import open_project


@pytest.fixture
async def kitchens(fresh_database_url: str) -> AsyncIterator[tuple[Kitchen, Kitchen]]:
    async with (
        open_project(fresh_database_url) as gotrue,
        kitchen_of(fresh_database_url, gotrue, HOST_GRACE_SECONDS="2") as one,
        kitchen_of(fresh_database_url, gotrue, HOST_GRACE_SECONDS="2") as two,
    ):
        for kitchen in (one, two):
            while await bus_of(kitchen) != "up":
                await trio.sleep(0.02)
        yield one, two


async def bus_of(kitchen: Kitchen) -> str:
    answer = await kitchen.server.http.get("/health/detailed")
    return answer.json()["services"]["bus"]["status"]


async def meet(one: Kitchen, two: Kitchen) -> tuple[str, LiveClient, LiveClient]:
    """Ann hosts on the first instance, Ben joins on the second and speaks the plain protocol."""
    ann = await one.connect("Ann")
    session_id = (await start_session(one, ann, isPublic=True))["session"]["id"]
    ben = await two.connect("Ben", plain=True)
    await ben.send("join_cooking_session", {"sessionId": session_id})
    await ben.expect("cooking_session_joined")
    joined = await ann.expect("user_joined_session")
    assert (joined["userId"], joined["participantCount"]) == (ben.id, 2)
    return session_id, ann, ben


async def test_a_room_spans_both(kitchens: tuple[Kitchen, Kitchen]) -> None:
    session_id, ann, ben = await meet(*kitchens)
    await ann.send("update_cooking_step", {"sessionId": session_id, "newStep": 2})
    assert (await ben.expect("cooking_step_updated"))["currentStep"] == 2
    hello = {"sessionId": session_id, "message": "smells good"}
    await ben.send("cooking_session_message", hello)
    told = [await who.expect("cooking_message") for who in (ann, ben)]
    assert told[0] == told[1]
    assert told[0]["message"] == "smells good"
    await ann.send("leave_cooking_session", {"sessionId": session_id})
    assert (await ben.expect("cooking_session_ended"))["reason"] == "Host left the session"
    again = await ben.ask("cooking_session_message", hello)
    assert again["message"] == "Cooking session not found or inactive"


async def test_nobody_is_missed_who_is_on_the_other_instance(
    kitchens: tuple[Kitchen, Kitchen],
) -> None:
    """The host drops here and comes back there, within its grace."""
    one, two = kitchens
    session_id, ann, ben = await meet(one, two)
    await one.drop(ann)
    again = await two.connect(ann.user)
    await again.send("join_cooking_session", {"sessionId": session_id})
    await again.expect("cooking_session_joined")
    await trio.sleep(4)  # longer than the grace, and than the look of either instance
    assert "cooking_session_ended" not in await ben.seen()
    await again.send("update_cooking_step", {"sessionId": session_id, "newStep": 1})
    assert (await ben.expect("cooking_step_updated"))["currentStep"] == 1


async def test_a_host_who_does_not_come_back_anywhere_ends_it_for_all(
    kitchens: tuple[Kitchen, Kitchen],
) -> None:
    one, two = kitchens
    _, ann, ben = await meet(one, two)
    await one.drop(ann)
    with trio.fail_after(10):
        while "cooking_session_ended" not in await ben.seen():
            await trio.sleep(0.1)


async def test_a_direct_message_finds_its_user(kitchens: tuple[Kitchen, Kitchen]) -> None:
    one, two = kitchens
    ann, ben = await one.connect("Ann"), await two.connect("Ben", plain=True)
    request = {
        "targetUserId": ben.id,
        "recipeId": await one.recipe(ann.user),
        "message": "cook with me",
    }
    await ann.send("request_recipe_collab", request)
    assert (await ben.expect("recipe_collab_request"))["fromUserId"] == ann.id
