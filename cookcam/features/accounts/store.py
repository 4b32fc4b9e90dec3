"""SQL of profiles.

Row-level security does not give users access to full profiles, so these statements run in the
service role; each one names its user.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import LiteralString
from uuid import UUID

from attrs import asdict, frozen

from cookcam.database import SERVICE, Database, Jsonb, Transaction
from cookcam.errors import NotFound
from cookcam.features.accounts.models import Profile, ProfileChanges, PublicCard
from cookcam.features.billing.tiers.service import CREATOR_FEATURE
from cookcam.features.pages import time_text

FIELDS: LiteralString = """
  id, email, name, avatar_url, creator_bio, creator_specialty, level, xp, total_xp, streak_current,
  streak_shields, is_creator, creator_tier, onboarding_completed, meal_prep_enabled,
  default_serving_size, default_meal_prep_count, kitchen_appliances, dietary_preferences,
  cuisine_preferences, cooking_skill_level, timezone, country, notifications_enabled,
  notification_preferences, to_char(quiet_hours_start, 'HH24:MI') as quiet_hours_start,
  to_char(quiet_hours_end, 'HH24:MI') as quiet_hours_end"""

COLUMNS = f"{FIELDS}, created_at, updated_at"

READ = f"select {COLUMNS} from public.users where id = %(user_id)s"  # noqa: S608 - constants

READ_AS_JSON = f"""
select row_to_json(profile)::text
from (
  select {FIELDS},
    {time_text("created_at")} as created_at, {time_text("updated_at")} as updated_at
  from public.users where id = %(user_id)s
) as profile"""  # noqa: S608 - constants

# Same result as the sign-up trigger. For a deleted account the foreign key fails.
CREATE = """
insert into public.users (id, email, name)
values (%(user_id)s, %(email)s, public.initial_name(%(metadata)s, %(email)s))
on conflict (id) do nothing"""

LOCK = "select from public.users where id = %(user_id)s for no key update"

# Becoming a creator requires the entitlement. It is read in this statement, under the row lock,
# because a subscription may end between the caller's check and the update.
UPDATE = f"""
update public.users set
  name = coalesce(%(name)s, name),
  avatar_url = coalesce(%(avatar_url)s, avatar_url),
  is_creator = case %(is_creator)s::boolean
    when true then public.user_has_feature_access(id, %(creator_feature)s)
    when false then false
    else is_creator
  end,
  creator_bio = coalesce(%(creator_bio)s, creator_bio),
  creator_specialty = coalesce(%(creator_specialty)s, creator_specialty),
  onboarding_completed = coalesce(%(onboarding_completed)s, onboarding_completed),
  meal_prep_enabled = coalesce(%(meal_prep_enabled)s, meal_prep_enabled),
  default_serving_size = coalesce(%(default_serving_size)s, default_serving_size),
  default_meal_prep_count = coalesce(%(default_meal_prep_count)s, default_meal_prep_count),
  kitchen_appliances = coalesce(%(kitchen_appliances)s::jsonb, kitchen_appliances),
  dietary_preferences = coalesce(%(dietary_preferences)s::jsonb, dietary_preferences),
  cuisine_preferences = coalesce(%(cuisine_preferences)s::jsonb, cuisine_preferences),
  cooking_skill_level = coalesce(%(cooking_skill_level)s, cooking_skill_level),
  timezone = coalesce(%(timezone)s, timezone),
  country = coalesce(%(country)s, country),
  notifications_enabled = coalesce(%(notifications_enabled)s, notifications_enabled),
  notification_preferences = coalesce(
    %(notification_preferences)s::jsonb, notification_preferences
  ),
  quiet_hours_start = case when not %(clears_quiet_hours)s then
    coalesce(%(quiet_hours_start)s::time, quiet_hours_start)
  end,
  quiet_hours_end = case when not %(clears_quiet_hours)s then
    coalesce(%(quiet_hours_end)s::time, quiet_hours_end)
  end
where id = %(user_id)s
returning {COLUMNS}"""  # noqa: S608 - constants

JSON_COLUMNS = (
    "kitchen_appliances",
    "dietary_preferences",
    "cuisine_preferences",
    "notification_preferences",
)

CARDS = "select id, name, avatar_url, level from public.users where id = any(%(ids)s::uuid[])"


@frozen
class ProfileRow:
    """A profile row locked by the current transaction."""

    tx: Transaction
    user_id: UUID

    async def read(self) -> Profile:
        return await self.tx.fetch_one(Profile, READ, user_id=self.user_id)

    async def update(self, changes: ProfileChanges) -> Profile:
        """The row after the changes."""
        values = asdict(changes, recurse=False)
        for column in JSON_COLUMNS:
            values[column] = None if values[column] is None else Jsonb(values[column])
        return await self.tx.fetch_one(
            Profile, UPDATE, user_id=self.user_id, creator_feature=CREATOR_FEATURE, **values
        )


@frozen
class ProfileStore:
    database: Database

    async def find(self, user_id: UUID) -> Profile | None:
        return await self.database.fetch_optional_as(SERVICE, Profile, READ, user_id=user_id)

    async def find_json(self, user_id: UUID) -> bytes | None:
        """The profile as JSON."""
        return await self.database.fetch_optional_json_as(SERVICE, READ_AS_JSON, user_id=user_id)

    async def create(self, user_id: UUID, email: str | None, name: str | None) -> None:
        """Insert the row unless it exists. Raises ForeignKeyError for an unknown account."""
        async with self.database.transaction() as tx:
            await tx.execute(CREATE, user_id=user_id, email=email, metadata=Jsonb({"name": name}))

    @asynccontextmanager
    async def locked(self, user_id: UUID) -> AsyncGenerator[ProfileRow]:
        """Lock the row until the block ends. Raises NotFound."""
        async with self.database.transaction() as tx:
            if not await tx.execute(LOCK, user_id=user_id):
                raise NotFound("User profile not found", error="User profile not found")
            yield ProfileRow(tx, user_id)

    async def cards(self, user_ids: Iterable[UUID]) -> list[PublicCard]:
        """One row per existing id; the caller limits their number."""
        return await self.database.fetch_all_as(SERVICE, PublicCard, CARDS, ids=list(user_ids))
