"""The SQL of generation sessions, under the role of their owner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import SERVICE, Database, Jsonb, Transaction
from cookcam.features.recipes.generation.contracts import Preview
from cookcam.features.recipes.generation.models import (
    CookingSession,
    RecipePreviewRow,
    RecipeSession,
)
from cookcam.identity import Identity

ADD_SUGGESTIONS: LiteralString = """
insert into public.recipe_sessions (user_id, input_data, suggestions)
values (%(user_id)s, %(input)s, %(suggestions)s)
returning id"""

FIND_SUGGESTIONS: LiteralString = """
select id, input_data from public.recipe_sessions
where id = %(session_id)s and user_id = %(user_id)s"""

FIND_SESSION: LiteralString = """
select session_id, original_ingredients, user_preferences from public.cooking_sessions
where session_id = %(session_id)s and user_id = %(user_id)s"""

LOCK_SESSION: LiteralString = f"{FIND_SESSION} for update"

BELONGS_TO_ANOTHER: LiteralString = """
select exists (
  select from public.cooking_sessions
  where session_id = %(session_id)s and user_id <> %(user_id)s
)"""

# `xmax = 0`: the row is new. Of two concurrent requests exactly one inserts it and consumes quota.
SAVE_SESSION: LiteralString = """
insert into public.cooking_sessions as s
  (user_id, session_id, original_ingredients, user_preferences, previews_generated)
values (%(user_id)s, %(session_id)s, %(ingredients)s, %(preferences)s, %(count)s)
on conflict (user_id, session_id) do update set
  original_ingredients = excluded.original_ingredients,
  user_preferences = excluded.user_preferences,
  previews_generated = least(s.previews_generated + excluded.previews_generated, 32767)
returning xmax = 0"""

PREVIEW: LiteralString = """
  p.id, p.preview_id, p.session_id, p.user_id, p.title, p.description, p.estimated_time,
  p.difficulty, p.cuisine_type, p.main_ingredients, p.appeal_factors, p.selected_for_details,
  p.created_at"""

# Times one microsecond apart keep the order and identify the previews of one completion.
ADD_PREVIEWS = f"""
insert into public.recipe_previews as p (
  user_id, session_id, preview_id, title, description, estimated_time, difficulty, cuisine_type,
  main_ingredients, appeal_factors, created_at
)
select
  %(user_id)s, %(session_id)s, e.v ->> 'id', e.v ->> 'title', e.v ->> 'description',
  (e.v ->> 'minutes')::integer, e.v ->> 'difficulty', e.v ->> 'cuisine', e.v -> 'ingredients',
  e.v -> 'appeal', now() + e.n * interval '1 microsecond'
from jsonb_array_elements(%(previews)s::jsonb) with ordinality as e (v, n)
order by e.n
returning {PREVIEW}"""  # noqa: S608 - constants

# The previews of the latest request with the same content, unless they are too old.
RECENT_PREVIEWS = f"""
with last as (
  select p.session_id, max(p.created_at) as at
  from public.cooking_sessions s
  join public.recipe_previews p on p.user_id = s.user_id and p.session_id = s.session_id
  where s.user_id = %(user_id)s
    and (%(session_id)s::text is null or s.session_id = %(session_id)s)
    and s.original_ingredients = %(ingredients)s::jsonb
    and s.user_preferences = %(preferences)s::jsonb
    and p.created_at > now() - make_interval(secs => %(seconds)s)
  group by p.session_id
  order by at desc
  limit 1
)
select {PREVIEW}
from public.recipe_previews p
join last on last.session_id = p.session_id
where p.user_id = %(user_id)s and p.created_at > last.at - interval '1 millisecond'
order by p.created_at"""  # noqa: S608 - constants

TITLES: LiteralString = """
select title from public.recipe_previews
where user_id = %(user_id)s and session_id = %(session_id)s
order by created_at desc limit 60"""

FIND_PREVIEW = f"""
select {PREVIEW} from public.recipe_previews p
where p.user_id = %(user_id)s and p.session_id = %(session_id)s
  and p.preview_id = %(preview_id)s"""  # noqa: S608 - constants

COMPLETE_SESSION: LiteralString = """
update public.cooking_sessions set
  detailed_recipe_id = %(recipe_id)s,
  selected_preview_id = %(preview_id)s,
  completed = true,
  completed_at = now()
where user_id = %(user_id)s and session_id = %(session_id)s"""

SELECT_PREVIEW: LiteralString = """
update public.recipe_previews set selected_for_details = true
where user_id = %(user_id)s and session_id = %(session_id)s and preview_id = %(preview_id)s"""


@frozen
class Title:
    title: str


@frozen
class SessionStore:
    """Methods with a `tx` expect a transaction under the owner's role."""

    database: Database

    async def add_suggestions(
        self,
        tx: Transaction,
        owner: Identity,
        preferences: dict[str, Any],
        suggestions: list[dict[str, Any]],
    ) -> UUID:
        return await tx.fetch_value(
            ADD_SUGGESTIONS,
            user_id=owner.user_id,
            input=Jsonb(preferences),
            suggestions=Jsonb(suggestions),
        )

    async def suggestion_session(self, owner: Identity, session_id: UUID) -> RecipeSession | None:
        return await self.database.fetch_optional_as(
            owner, RecipeSession, FIND_SUGGESTIONS, session_id=session_id, user_id=owner.user_id
        )

    async def session(self, owner: Identity, session_id: str) -> CookingSession | None:
        return await self.database.fetch_optional_as(
            owner, CookingSession, FIND_SESSION, session_id=session_id, user_id=owner.user_id
        )

    async def lock_session(
        self, tx: Transaction, owner: Identity, session_id: str
    ) -> CookingSession | None:
        """Lock the session until the end of the transaction."""
        return await tx.fetch_optional(
            CookingSession, LOCK_SESSION, session_id=session_id, user_id=owner.user_id
        )

    async def belongs_to_another(self, owner: Identity, session_id: str) -> bool:
        """Whether another user has a session with that id."""
        return await self.database.fetch_value_as(
            SERVICE, BELONGS_TO_ANOTHER, session_id=session_id, user_id=owner.user_id
        )

    async def save_session(
        self,
        tx: Transaction,
        owner: Identity,
        session_id: str,
        ingredients: list[str],
        preferences: dict[str, Any],
        count: int,
    ) -> bool:
        """Insert or update the session. Returns True when it is new."""
        return await tx.fetch_value(
            SAVE_SESSION,
            user_id=owner.user_id,
            session_id=session_id,
            ingredients=Jsonb(ingredients),
            preferences=Jsonb(preferences),
            count=count,
        )

    async def add_previews(
        self,
        tx: Transaction,
        owner: Identity,
        session_id: str,
        previews: Sequence[tuple[str, Preview]],
    ) -> list[RecipePreviewRow]:
        """Insert (id, preview) pairs in their order."""
        rows = [
            {
                "id": preview_id,
                "title": preview.title,
                "description": preview.description,
                "minutes": preview.minutes,
                "difficulty": preview.difficulty,
                "cuisine": preview.cuisine,
                "ingredients": preview.ingredients,
                "appeal": preview.appeal,
            }
            for preview_id, preview in previews
        ]
        return await tx.fetch_all(
            RecipePreviewRow,
            ADD_PREVIEWS,
            user_id=owner.user_id,
            session_id=session_id,
            previews=Jsonb(rows),
        )

    async def recent_previews(
        self,
        owner: Identity,
        session_id: str | None,
        ingredients: list[str],
        preferences: dict[str, Any],
        seconds: float,
    ) -> list[RecipePreviewRow]:
        """The stored previews of the same request, at most `seconds` old; empty without one."""
        return await self.database.fetch_all_as(
            owner,
            RecipePreviewRow,
            RECENT_PREVIEWS,
            user_id=owner.user_id,
            session_id=session_id,
            ingredients=Jsonb(ingredients),
            preferences=Jsonb(preferences),
            seconds=seconds,
        )

    async def titles(self, owner: Identity, session_id: str) -> list[str]:
        """The titles of the session's previews, newest first."""
        rows = await self.database.fetch_all_as(
            owner, Title, TITLES, user_id=owner.user_id, session_id=session_id
        )
        return [row.title for row in rows]

    async def preview(
        self, owner: Identity, session_id: str, preview_id: str
    ) -> RecipePreviewRow | None:
        return await self.database.fetch_optional_as(
            owner,
            RecipePreviewRow,
            FIND_PREVIEW,
            user_id=owner.user_id,
            session_id=session_id,
            preview_id=preview_id,
        )

    async def complete_session(
        self, tx: Transaction, owner: Identity, session_id: str, preview_id: str, recipe_id: UUID
    ) -> None:
        await tx.execute(
            COMPLETE_SESSION,
            user_id=owner.user_id,
            session_id=session_id,
            preview_id=preview_id,
            recipe_id=recipe_id,
        )
        await tx.execute(
            SELECT_PREVIEW,
            user_id=owner.user_id,
            session_id=session_id,
            preview_id=preview_id,
        )
