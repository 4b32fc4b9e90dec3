"""The rules of mystery boxes (docs/mystery-boxes.md)."""

from __future__ import annotations

from uuid import UUID

from attrs import field, frozen

from cookcam.database import Transaction
from cookcam.features.billing.ledger.gifts import Gifts
from cookcam.features.billing.tiers.quotas import Quotas
from cookcam.features.rewards.mystery_boxes.models import Box, BoxCount, Reward
from cookcam.features.rewards.mystery_boxes.odds import RandBelow, draw, xp_replacement
from cookcam.features.rewards.mystery_boxes.store import BoxStore
from cookcam.features.rewards.xp.service import Xp
from cookcam.identity import Identity

STATS_BOXES = 1000
"""The statistics cover the newest boxes, up to this number."""


@frozen
class MysteryBoxes:
    """Each scan gives one try on its own UTC day; a user gets at most three boxes a day. The SQL
    function `open_mystery_box` enforces both."""

    store: BoxStore
    gifts: Gifts
    quotas: Quotas
    xp: Xp
    randbelow: RandBelow = field(repr=False)

    async def open(self, caller: Identity) -> Box | None:
        """Uses the try of the caller's oldest untried scan of today.

        The box, its reward and the used try are one transaction. Returns None for a draw without a
        box, without an untried scan, and after the last box of the day, without saying which.
        """
        user_id = caller.user_id
        async with self.store.database.transaction() as tx:
            box = await self._try_scan(tx, user_id)
            gift = None
            if box is not None and box.reward_type == "subscription":
                days = box.reward_value["days"]
                gift = await self.gifts.grant(tx, user_id, days, ref=_key(box))
        if gift is not None:
            self.gifts.announce(gift)
        return box

    async def history(self, owner: Identity, limit: int) -> list[Box]:
        """The owner's boxes, newest first, at most `limit`."""
        return await self.store.history(owner, limit)

    async def counts(self) -> list[BoxCount]:
        """Counts over the newest boxes of all users."""
        return await self.store.counts(STATS_BOXES)

    async def _try_scan(self, tx: Transaction, user_id: UUID) -> Box | None:
        scan_id = await self.store.next_scan(tx, user_id)
        if scan_id is None:
            return None
        drawn = draw(self.randbelow)
        reward = None if drawn is None else await self._useful_reward(tx, user_id, drawn)
        return await self.store.use_try(tx, user_id, scan_id, reward)

    async def _useful_reward(self, tx: Transaction, user_id: UUID, drawn: Reward) -> Reward:
        """The drawn reward, or XP instead of a reward that the user cannot use."""
        if drawn.type == "subscription":
            is_usable = await self.gifts.may_grant(tx, user_id)
        elif drawn.type == "badge":
            is_usable = await self.xp.can_win_badge(tx, user_id, drawn.value["id"])
        elif drawn.type == "recipe_unlock":
            is_usable = await self.quotas.is_limited(tx, user_id, "monthly_recipes")
        else:
            is_usable = True
        return drawn if is_usable else xp_replacement(drawn)


def _key(box: Box) -> str:
    """The idempotency key of a box's reward; `open_mystery_box` uses the same."""
    return f"box:{box.source_scan_id}"
