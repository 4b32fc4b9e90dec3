"""Identities as Supabase Auth creates them: a row of auth.users, whose trigger makes the rest."""

from __future__ import annotations

from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from cookcam.database.actors import Actor, FixedActor
from cookcam.database.connecting import connect
from tests.support.postgres import as_owner


async def create_user(database_url: str, *, email: str | None = None, name: str = "Ann") -> UUID:
    """Create an identity and return its id. Without `email`, a fresh one."""
    async with await connect(as_owner(database_url)) as connection:
        cursor = await connection.execute(
            "insert into auth.users (email, raw_user_meta_data) values (%s, %s) returning id",
            (email or f"{uuid4().hex}@example.test", Jsonb({"name": name})),
        )
        row = await cursor.fetchone()
        assert row is not None
        return row[0]


def person(user_id: UUID, **claims: object) -> Actor:
    """A signed-in user, for tests that need no token."""
    return FixedActor("authenticated", {"sub": str(user_id), **claims})
