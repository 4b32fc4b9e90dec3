"""The SQL of saved recipes, under the user's role; users can access only their own rows.

The results of toggles are the server's own records, read and written as SERVICE.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import SERVICE, Database, Transaction
from cookcam.features.pages import time_text
from cookcam.features.recipes.catalogue.store import recipe_json
from cookcam.features.recipes.saving.models import SavedState
from cookcam.identity import Identity

REPEAT_WINDOW = 3
"""Seconds. A toggle repeated within this period returns its first result."""

# Serialises changes of a user's saved recipes, so that the state read by a toggle stays current.
# Quotas and awards lock the same row, so the lock order is everywhere: user, then recipes.
LOCK_USER: LiteralString = "select from public.users where id = %(user_id)s for no key update"

# Prevents the deletion of the recipe until the change is committed: a deletion locks the same rows
# in the opposite order, which could deadlock.
LOCK_RECIPE: LiteralString = "select from public.recipes where id = %(recipe_id)s for key share"

SAVED_STATE: LiteralString = """
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

# now() is the start of the transaction, before it waited for the lock.
LAST_TOGGLE: LiteralString = """
select favorited from public.favorite_toggles
where user_id = %(user_id)s and recipe_id = %(recipe_id)s
  and toggled_at > now() - make_interval(secs => %(seconds)s)"""

DELETE_TOGGLES: LiteralString = """
delete from public.favorite_toggles
where user_id = %(user_id)s
  and (
    recipe_id = %(recipe_id)s or toggled_at <= now() - make_interval(secs => %(seconds)s)
  )"""

RECORD_TOGGLE: LiteralString = """
insert into public.favorite_toggles (user_id, recipe_id, favorited)
values (%(user_id)s, %(recipe_id)s, %(favorited)s)"""

_ITEM, _JOINS = recipe_json(signed_in=True)

# The row policy of recipes hides the recipes that their authors have withdrawn.
PAGE: LiteralString = f"""
select json_build_object(
  'success', true,
  'saved_recipes', coalesce(
    json_agg(
      json_build_object('created_at', {time_text("saved.created_at")}, 'recipe', {_ITEM})
      order by saved.created_at desc, saved.id
    ),
    '[]'
  ),
  'total', (
    select count(*)
    from public.saved_recipes s join public.recipes r on r.id = s.recipe_id
    where s.user_id = %(reader)s
  )
)::text
from (
  select s.*
  from public.saved_recipes s join public.recipes r on r.id = s.recipe_id
  where s.user_id = %(reader)s
  order by s.created_at desc, s.id
  limit %(limit)s offset %(offset)s
) as saved
join public.recipes r on r.id = saved.recipe_id {_JOINS}"""  # noqa: S608 - constants


@frozen
class LastToggle:
    favorited: bool


@frozen
class SavingStore:
    database: Database

    @asynccontextmanager
    async def locked_transaction(
        self, owner: Identity, recipe_id: UUID
    ) -> AsyncGenerator[Transaction]:
        """A transaction as `owner` that holds the lock on the owner's saved recipes."""
        async with self.database.transaction_as(owner) as tx:
            async with tx.acting_as(SERVICE):
                await tx.execute(LOCK_USER, user_id=owner.user_id)
                await tx.execute(LOCK_RECIPE, recipe_id=recipe_id)
            yield tx

    async def current(self, tx: Transaction, owner: Identity, recipe_id: UUID) -> SavedState:
        return await tx.fetch_one(
            SavedState, SAVED_STATE, user_id=owner.user_id, recipe_id=recipe_id
        )

    async def add(self, tx: Transaction, owner: Identity, recipe_id: UUID) -> None:
        await tx.execute(ADD, user_id=owner.user_id, recipe_id=recipe_id)

    async def remove(self, tx: Transaction, owner: Identity, recipe_id: UUID) -> None:
        await tx.execute(REMOVE, user_id=owner.user_id, recipe_id=recipe_id)

    async def last_toggle(self, tx: Transaction, owner: Identity, recipe_id: UUID) -> bool | None:
        """The result of the latest toggle within REPEAT_WINDOW; None without one."""
        async with tx.acting_as(SERVICE):
            last = await tx.fetch_optional(
                LastToggle,
                LAST_TOGGLE,
                user_id=owner.user_id,
                recipe_id=recipe_id,
                seconds=REPEAT_WINDOW,
            )
        return None if last is None else last.favorited

    async def record_toggle(
        self, tx: Transaction, owner: Identity, recipe_id: UUID, favorited: bool
    ) -> None:
        """Stores the result of a toggle and deletes the user's expired ones."""
        async with tx.acting_as(SERVICE):
            await tx.execute(
                DELETE_TOGGLES,
                user_id=owner.user_id,
                recipe_id=recipe_id,
                seconds=REPEAT_WINDOW,
            )
            await tx.execute(
                RECORD_TOGGLE, user_id=owner.user_id, recipe_id=recipe_id, favorited=favorited
            )

    async def page_json(self, owner: Identity, limit: int, offset: int) -> bytes:
        """A slice of the recipes that the owner saved and may still see, newest first, as a
        SavedRecipesResponse."""
        return await self.database.fetch_json_as(
            owner, PAGE, reader=owner.user_id, limit=limit, offset=offset
        )
