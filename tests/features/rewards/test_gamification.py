"""Awards of XP inside a user's own transaction, and the notifications they cause."""

from __future__ import annotations

from uuid import UUID

import pytest

from cookcam.database import SERVICE, Database
from cookcam.errors import DatabaseError
from cookcam.features.rewards.xp.service import Xp
from cookcam.features.rewards.xp.store import XpStore
from tests.support.users import create_user, person


@pytest.fixture
async def ann(database_url: str) -> UUID:
    return await create_user(database_url)


@pytest.fixture
def xp() -> Xp:
    return Xp(XpStore())


async def ledger(database: Database, user: UUID) -> list[tuple[str, int, str | None, object]]:
    rows = await database.fetch_all_as(
        SERVICE,
        dict,
        "select action, xp_gained, idempotency_key, metadata from user_progress"
        " where user_id = %(user)s order by total_xp",
        user=user,
    )
    return [tuple(row.values()) for row in rows]


async def test_award_keeps_the_role_of_the_users_transaction(
    database: Database, ann: UUID, xp: Xp
) -> None:
    async with database.transaction_as(person(ann)) as tx:
        award = await xp.award(
            tx, ann, "recipe_favorited", subject="r1", metadata={"recipe_id": "r1"}
        )
        assert await tx.fetch_value("select current_user::text") == "authenticated"
    assert (award.xp_gained, award.new_xp, award.level_up) == (10, 10, False)
    assert await ledger(database, ann) == [
        ("recipe_favorited", 10, "recipe_favorited:r1", {"recipe_id": "r1"})
    ]


async def test_subject_earns_xp_once_for_each_action(database: Database, ann: UUID, xp: Xp) -> None:
    gained: list[int] = []
    for action in ("recipe_favorited", "recipe_favorited", "RECIPE_COMPLETION_PHOTO"):
        async with database.transaction() as tx:
            gained.append((await xp.award(tx, ann, action, subject="r1")).xp_gained)
    assert gained == [10, 0, 75]


async def test_rolled_back_action_earns_nothing(database: Database, ann: UUID, xp: Xp) -> None:
    with pytest.raises(KeyError):  # noqa: PT012
        async with database.transaction_as(person(ann)) as tx:
            await xp.award(tx, ann, "recipe_favorited", subject="r1")
            raise KeyError
    assert await ledger(database, ann) == []


async def test_variable_award_grants_its_amount(database: Database, ann: UUID, xp: Xp) -> None:
    async with database.transaction() as tx:
        award = await xp.award(tx, ann, "MYSTERY_BOX", subject="b1", amount=15)
    assert award.xp_gained == 15


async def test_unknown_action_is_a_database_error(database: Database, ann: UUID, xp: Xp) -> None:
    with pytest.raises(DatabaseError):
        async with database.transaction() as tx:
            await xp.award(tx, ann, "INVENTED", subject="x")


async def test_only_a_new_level_is_notified(database: Database, ann: UUID, xp: Xp) -> None:
    async with database.transaction_as(person(ann)) as tx:
        await xp.award(tx, ann, "recipe_favorited", subject="r1")
        await xp.award(tx, ann, "BECOME_CREATOR", subject=str(ann))
    rows = await database.fetch_all_as(
        SERVICE,
        dict,
        "select channel, type, title, body, data, status from notification_logs"
        " where user_id = %(user)s",
        user=ann,
    )
    assert [tuple(row.values()) for row in rows] == [
        (
            "app",
            "level_up",
            "Level 3 reached!",
            "You have 510 XP now.",
            {"old_level": 1, "new_level": 3, "total_xp": 510},
            "queued",
        )
    ]
