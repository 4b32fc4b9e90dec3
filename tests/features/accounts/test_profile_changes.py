"""`PUT /auth/profile`, and who becomes a creator by it."""

from __future__ import annotations

import pytest
import trio

from tests.features.conftest import ApiUser, Response, Server

FORBIDDEN = ("subscription", "billing", "payment")
"""Words in an error that make the app switch itself to creator mode."""

ONBOARDING = {
    "is_creator": True,
    "creator_bio": "Cooks for many",
    "creator_specialty": "Soup",
    "creator_tier": 1,
    "onboarding_completed": True,
}
"""As the app sends it at the end of the creator's onboarding."""


async def subscribe(server: Server, person: ApiUser, tier: int = 3) -> None:
    await server.sql(
        "insert into user_subscriptions (user_id, tier_id, status, current_period_start,"
        " current_period_end, provider) values (%(id)s, %(tier)s, 'active', now(),"
        " now() + interval '1 day', 'manual')",
        id=person.id,
        tier=tier,
    )


async def xp_of(server: Server, person: ApiUser) -> int:
    rows = await server.sql("select total_xp from users where id = %(id)s", id=person.id)
    return rows[0][0]


async def test_answers_with_the_wrapped_row(ann: ApiUser):
    response = await ann.put("/auth/profile", {"name": "Anna", "default_serving_size": 6})
    assert response.status_code == 200
    body = response.json()
    assert set(body) == {"user", "message"}
    assert body["user"] == (await ann.get("/users/profile")).json()
    assert (body["user"]["name"], body["user"]["default_serving_size"]) == ("Anna", 6)


async def test_without_anything_to_change_is_rejected(ann: ApiUser):
    for body in (None, {}, {"name": None}, {"creator_tier": 5, "total_xp": 9, "level": 9}):
        response = await ann.put("/auth/profile", body)
        assert response.status_code == 400
        assert response.json()["error"] == "No fields to update"


async def test_bounds_are_those_of_the_other_route(ann: ApiUser):
    for body in (
        {"name": "A"},
        {"avatar_url": "http://example.com/a.png"},
        {"creator_bio": "x" * 1001},
        {"kitchen_appliances": ["x"] * 101},
        {"dietary_preferences": ["x" * 101]},
        {"default_meal_prep_count": 51},
    ):
        assert (await ann.put("/auth/profile", body)).status_code == 400, body
    free = {"cuisine_preferences": ["martian", "Thai"], "dietary_preferences": ["none"]}
    assert (await ann.put("/auth/profile", free)).json()["user"].items() >= free.items()


async def test_wants_a_token(server: Server):
    assert (await server.guest.put("/auth/profile", {"name": "Anna"})).status_code == 401


class TestBecomingACreator:
    @pytest.mark.parametrize("tier", [None, 2])
    async def test_needs_the_entitlement_and_changes_nothing_without(
        self, server: Server, ann: ApiUser, tier: int | None
    ):
        if tier:
            await subscribe(server, ann, tier)
        for path in ("/auth/profile", "/users/profile"):
            response = await ann.put(path, ONBOARDING)
            assert response.status_code == 403
            body = response.json()
            assert body["error"] == "Creator access required"
            assert body["upgradeUrl"] == "/subscription/upgrade?tier=creator"
            shown = (body["error"] + body["message"]).lower()
            assert not any(word in shown for word in FORBIDDEN)
        profile = (await ann.get("/users/profile")).json()
        assert (profile["is_creator"], profile["creator_bio"], profile["total_xp"]) == (
            False,
            None,
            0,
        )

    async def test_pays_once_in_a_life(self, server: Server, ann: ApiUser):
        await subscribe(server, ann)
        response = await ann.put("/auth/profile", ONBOARDING)
        assert response.status_code == 200
        user = response.json()["user"]
        assert (user["is_creator"], user["creator_tier"]) == (True, 0)
        assert (user["total_xp"], user["xp"], user["level"]) == (500, 500, 3)
        assert user["onboarding_completed"] is True
        assert (await ann.put("/auth/profile", ONBOARDING)).json()["user"]["total_xp"] == 500
        await ann.put("/auth/profile", {"is_creator": False})
        again = await ann.put("/users/profile", {"is_creator": True})
        assert (again.json()["is_creator"], again.json()["total_xp"]) == (True, 500)

    async def test_pays_whom_the_subscription_had_made_a_creator_already(
        self, server: Server, ann: ApiUser
    ):
        await subscribe(server, ann)
        await server.sql("update users set is_creator = true where id = %(id)s", id=ann.id)
        assert (await ann.put("/auth/profile", ONBOARDING)).json()["user"]["total_xp"] == 500

    async def test_at_once_from_two_devices_pays_once(self, server: Server, ann: ApiUser):
        await subscribe(server, ann)
        responses: list[Response] = []

        async def one() -> None:
            responses.append(await ann.put("/auth/profile", ONBOARDING))

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(one)
        assert {response.status_code for response in responses} == {200}
        assert await xp_of(server, ann) == 500

    async def test_when_the_subscription_has_just_ended_is_rejected(
        self, server: Server, ann: ApiUser
    ):
        await subscribe(server, ann)
        await server.sql(
            "update user_subscriptions set current_period_start = now() - interval '2 days',"
            " current_period_end = now() - interval '1 second' where user_id = %(id)s",
            id=ann.id,
        )
        assert (await ann.put("/auth/profile", ONBOARDING)).status_code == 403
        assert await xp_of(server, ann) == 0
