"""The SQL of mystery boxes. Users may only read their boxes; tries are written as the server."""

from __future__ import annotations

from typing import LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import SERVICE, Database, Jsonb, Transaction
from cookcam.features.rewards.mystery_boxes.models import Box, BoxCount, Reward
from cookcam.identity import Identity

COLUMNS: LiteralString = """
  b.id, b.user_id, b.source_scan_id, b.rarity, b.reward_type, b.reward_value, b.opened_at"""

LOCK_USER: LiteralString = """
select public.hold_user(u.id) from public.users u where u.id = %(user_id)s"""

# The condition that `open_mystery_box` checks: a scan of this UTC day that was not tried before.
NEXT_SCAN: LiteralString = """
select (
  select s.id from public.ingredient_scans s
  where s.user_id = %(user_id)s and s.box_tried_at is null
    and s.created_at >= date_trunc('day', now() at time zone 'UTC') at time zone 'UTC'
  order by s.created_at, s.id limit 1
)"""

USE_TRY: LiteralString = """
select public.open_mystery_box(
  %(user_id)s, %(scan_id)s, %(rarity)s::text, %(type)s::text, %(value)s::jsonb
)"""

BY_SCAN = f"""
select {COLUMNS} from public.mystery_boxes b
where b.user_id = %(user_id)s and b.source_scan_id = %(scan_id)s"""  # noqa: S608 - constants

HISTORY = f"""
select {COLUMNS} from public.mystery_boxes b
where b.user_id = %(user_id)s
order by b.opened_at desc, b.id limit %(limit)s"""  # noqa: S608 - constants

COUNTS: LiteralString = """
select newest.rarity, newest.reward_type, count(*)::integer as boxes
from (
  select b.rarity, b.reward_type from public.mystery_boxes b
  order by b.opened_at desc limit %(limit)s
) as newest
group by 1, 2 order by 2, 1"""


@frozen
class BoxStore:
    database: Database

    async def next_scan(self, tx: Transaction, user_id: UUID) -> UUID | None:
        """The user's oldest untried scan of today, or None.

        Locks the user's row, so that the tries of one user run one after the other.
        """
        await tx.execute(LOCK_USER, user_id=user_id)
        return await tx.fetch_value(NEXT_SCAN, user_id=user_id)

    async def use_try(
        self, tx: Transaction, user_id: UUID, scan_id: UUID, reward: Reward | None
    ) -> Box | None:
        """Uses the try of a scan. Opens a box with the reward unless the day's limit is reached.

        XP and badges are granted in the same statement; a subscription is left to the caller.
        """
        await tx.execute(
            USE_TRY,
            user_id=user_id,
            scan_id=scan_id,
            rarity=reward and reward.rarity,
            type=reward and reward.type,
            value=Jsonb(dict(reward.value)) if reward else None,
        )
        return await tx.fetch_optional(Box, BY_SCAN, user_id=user_id, scan_id=scan_id)

    async def history(self, owner: Identity, limit: int) -> list[Box]:
        """The owner's boxes, newest first."""
        return await self.database.fetch_all_as(
            owner, Box, HISTORY, user_id=owner.user_id, limit=limit
        )

    async def counts(self, limit: int) -> list[BoxCount]:
        """Counts over the newest `limit` boxes of all users."""
        return await self.database.fetch_all_as(SERVICE, BoxCount, COUNTS, limit=limit)
