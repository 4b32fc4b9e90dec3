"""The SQL of saved recipes: in the name of who saves, whose rows nobody else may see or write.

What toggles came to is the server's own record, so that is read and written as SERVICE.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import SERVICE, Database, Transaction
from cookcam.features.saving.models import Standing
from cookcam.identity import Identity

REPEAT_SECONDS = 3
"""A toggle that comes again within this gets its first answer (`spec/client-contract.md` §2.1)."""

# One change of a user's saved recipes at a time: what a toggle finds stays so until it is done.
# Quotas and awards hold the same row, so it comes before the rows of recipes everywhere.
HOLD: LiteralString = "select from public.users where id = %(user_id)s for no key update"

# And a recipe that is being deleted is gone, or stays until the change is done: its deletion takes
# the same rows in the other order.
KEEP: LiteralString = "select from public.recipes where id = %(recipe_id)s for key share"

STANDING: LiteralString = """
select
  exists (
    select from public.saved_recipes s
    where s.user_id = %(user_id)s and s.recipe_id = %(recipe_id)s
  ) as saved,
  exists (select from public.recipes r where r.id = %(recipe_id)s) as visible"""

ADD: LiteralString = """
insert into public.saved_recipes (user_id, recipe_id) values (%(user_id)s, %(recipe_id)s)"""

REMOVE: LiteralString = """
delete from public.saved_recipes where user_id = %(user_id)s and recipe_id = %(recipe_id)s"""

# now() is when the request's transaction began, before it waited for others of the same user.
LAST_TOGGLE: LiteralString = """
select favorited from public.favorite_toggles
where user_id = %(user_id)s and recipe_id = %(recipe_id)s
  and toggled_at > now() - make_interval(secs => %(seconds)s)"""

FORGET_TOGGLES: LiteralString = """
delete from public.favorite_toggles
where user_id = %(user_id)s
  and (
    recipe_id = %(recipe_id)s or toggled_at <= now() - make_interval(secs => %(seconds)s)
  )"""

NOTE_TOGGLE: LiteralString = """
insert into public.favorite_toggles (user_id, recipe_id, favorited)
values (%(user_id)s, %(recipe_id)s, %(favorited)s)"""

# The policy of recipes leaves out those that their authors have withdrawn.
PAGE: LiteralString = """
select s.recipe_id, s.created_at
from public.saved_recipes s join public.recipes r on r.id = s.recipe_id
where s.user_id = %(user_id)s
order by s.created_at desc, s.id
limit %(limit)s offset %(offset)s"""

COUNT: LiteralString = """
select count(*)
from public.saved_recipes s join public.recipes r on r.id = s.recipe_id
where s.user_id = %(user_id)s"""


@frozen
class Bookmark:
    recipe_id: UUID
    created_at: datetime


@frozen
class LastToggle:
    favorited: bool


@frozen
class SavingStore:
    database: Database

    @asynccontextmanager
    async def changing(self, owner: Identity, recipe_id: UUID) -> AsyncGenerator[Transaction]:
        """A transaction as `owner`, the only one that changes their saved recipes meanwhile."""
        async with self.database.transaction_as(owner) as tx:
            async with tx.acting_as(SERVICE):
                await tx.execute(HOLD, user_id=owner.user_id)
                await tx.execute(KEEP, recipe_id=recipe_id)
            yield tx

    async def standing(self, tx: Transaction, owner: Identity, recipe_id: UUID) -> Standing:
        return await tx.fetch_one(Standing, STANDING, user_id=owner.user_id, recipe_id=recipe_id)

    async def add(self, tx: Transaction, owner: Identity, recipe_id: UUID) -> None:
        await tx.execute(ADD, user_id=owner.user_id, recipe_id=recipe_id)

    async def remove(self, tx: Transaction, owner: Identity, recipe_id: UUID) -> None:
        await tx.execute(REMOVE, user_id=owner.user_id, recipe_id=recipe_id)

    async def last_toggle(self, tx: Transaction, owner: Identity, recipe_id: UUID) -> bool | None:
        """What a toggle less than REPEAT_SECONDS ago came to; None if there was none."""
        async with tx.acting_as(SERVICE):
            last = await tx.fetch_optional(
                LastToggle,
                LAST_TOGGLE,
                user_id=owner.user_id,
                recipe_id=recipe_id,
                seconds=REPEAT_SECONDS,
            )
        return None if last is None else last.favorited

    async def note_toggle(
        self, tx: Transaction, owner: Identity, recipe_id: UUID, favorited: bool
    ) -> None:
        """Remembers what a toggle came to, and forgets the user's earlier ones."""
        async with tx.acting_as(SERVICE):
            await tx.execute(
                FORGET_TOGGLES,
                user_id=owner.user_id,
                recipe_id=recipe_id,
                seconds=REPEAT_SECONDS,
            )
            await tx.execute(
                NOTE_TOGGLE, user_id=owner.user_id, recipe_id=recipe_id, favorited=favorited
            )

    async def page(self, owner: Identity, limit: int, offset: int) -> tuple[list[Bookmark], int]:
        """A slice of what the owner saved and may still see, newest first, and their number."""
        found = await self.database.fetch_all_as(
            owner, Bookmark, PAGE, user_id=owner.user_id, limit=limit, offset=offset
        )
        total = await self.database.fetch_value_as(owner, COUNT, user_id=owner.user_id)
        return found, total
