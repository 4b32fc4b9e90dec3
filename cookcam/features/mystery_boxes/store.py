"""The SQL of boxes. Who tries and what is won is written as the server: people only read it."""

from __future__ import annotations

from typing import LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import SERVICE, Database, Jsonb, Transaction
from cookcam.features.mystery_boxes.models import Box, Reward, Tally
from cookcam.identity import Identity

COLUMNS: LiteralString = """
  b.id, b.user_id, b.source_scan_id, b.rarity, b.reward_type, b.reward_value, b.opened_at"""

HOLD: LiteralString = """
select public.hold_user(u.id) from public.users u where u.id = %(user_id)s"""

# As `open_mystery_box` has it: of this UTC day, and not tried before.
UNTRIED: LiteralString = """
select (
  select s.id from public.ingredient_scans s
  where s.user_id = %(user_id)s and s.box_tried_at is null
    and s.created_at >= date_trunc('day', now() at time zone 'UTC') at time zone 'UTC'
  order by s.created_at, s.id limit 1
)"""

TRY: LiteralString = """
select public.open_mystery_box(
  %(user_id)s, %(scan_id)s, %(rarity)s::text, %(type)s::text, %(value)s::jsonb
)"""

OF_SCAN = f"""
select {COLUMNS} from public.mystery_boxes b
where b.user_id = %(user_id)s and b.source_scan_id = %(scan_id)s"""  # noqa: S608 - constants

HISTORY = f"""
select {COLUMNS} from public.mystery_boxes b
where b.user_id = %(user_id)s
order by b.opened_at desc, b.id limit %(limit)s"""  # noqa: S608 - constants

TALLY: LiteralString = """
select newest.rarity, newest.reward_type, count(*)::integer as boxes
from (
  select b.rarity, b.reward_type from public.mystery_boxes b
  order by b.opened_at desc limit %(limit)s
) as newest
group by 1, 2 order by 2, 1"""


@frozen
class BoxStore:
    database: Database

    async def untried_scan(self, tx: Transaction, user_id: UUID) -> UUID | None:
        """The user's oldest scan of today that no try was made for. From here on the tries of one
        user take turns, until the transaction ends."""
        await tx.execute(HOLD, user_id=user_id)
        return await tx.fetch_value(UNTRIED, user_id=user_id)

    async def try_for(
        self, tx: Transaction, user_id: UUID, scan_id: UUID, reward: Reward | None
    ) -> Box | None:
        """Uses up the try of a scan, and opens the box with the reward where the day has room for
        one. XP and badges are then granted too, but no subscription."""
        await tx.execute(
            TRY,
            user_id=user_id,
            scan_id=scan_id,
            rarity=reward and reward.rarity,
            type=reward and reward.type,
            value=Jsonb(dict(reward.value)) if reward else None,
        )
        return await tx.fetch_optional(Box, OF_SCAN, user_id=user_id, scan_id=scan_id)

    async def history(self, owner: Identity, limit: int) -> list[Box]:
        """Newest first."""
        return await self.database.fetch_all_as(
            owner, Box, HISTORY, user_id=owner.user_id, limit=limit
        )

    async def tally(self, limit: int) -> list[Tally]:
        """Of the newest boxes of everybody."""
        return await self.database.fetch_all_as(SERVICE, Tally, TALLY, limit=limit)
