"""The rules of mystery boxes (`spec/payments-and-gamification.md` §9.8, §10.7)."""

from __future__ import annotations

from uuid import UUID

from attrs import field, frozen

from cookcam.database import Transaction
from cookcam.features.gamification.service import Xp
from cookcam.features.mystery_boxes.models import Box, Reward, Tally
from cookcam.features.mystery_boxes.odds import RandBelow, draw, xp_instead
from cookcam.features.mystery_boxes.store import BoxStore
from cookcam.features.subscriptions.gifts import Gifts
from cookcam.identity import Identity

NEWEST = 1000
"""Boxes that the statistics are over."""


@frozen
class MysteryBoxes:
    """Each scan has one try, on its own UTC day; a day has three boxes (`open_mystery_box`)."""

    store: BoxStore
    gifts: Gifts
    xp: Xp
    randbelow: RandBelow = field(repr=False)

    async def open(self, caller: Identity) -> Box | None:
        """Makes the try of the caller's oldest scan of today that has one, if there is any.

        The box, its reward and the used try are one transaction. None for bad luck, without a scan
        to try, and after the last box of the day: nobody learns which.
        """
        user_id = caller.user_id
        async with self.store.database.transaction() as tx:
            box = await self._tried(tx, user_id)
            award = given = None
            if box is not None and box.reward_type == "xp":
                award = await self.xp.paid(tx, user_id, _key(box))
            if box is not None and box.reward_type == "subscription":
                days = box.reward_value["days"]
                given = await self.gifts.give(tx, user_id, days, ref=_key(box))
        if award is not None:
            self.xp.announce(award)
        if given is not None:
            self.gifts.announce(given)
        return box

    async def history(self, owner: Identity, limit: int) -> list[Box]:
        """The owner's boxes, newest first."""
        return await self.store.history(owner, limit)

    async def tally(self) -> list[Tally]:
        """What the newest boxes of everybody held."""
        return await self.store.tally(NEWEST)

    async def _tried(self, tx: Transaction, user_id: UUID) -> Box | None:
        scan_id = await self.store.untried_scan(tx, user_id)
        if scan_id is None:
            return None
        drawn = draw(self.randbelow)
        reward = None if drawn is None else await self._of_use(tx, user_id, drawn)
        return await self.store.try_for(tx, user_id, scan_id, reward)

    async def _of_use(self, tx: Transaction, user_id: UUID, drawn: Reward) -> Reward:
        """XP in the place of what the user has already."""
        if drawn.type == "subscription":
            of_use = await self.gifts.are_of_use(tx, user_id)
        elif drawn.type == "badge":
            of_use = await self.xp.lacks(tx, user_id, drawn.value["id"])
        else:
            of_use = True
        return drawn if of_use else xp_instead(drawn)


def _key(box: Box) -> str:
    """Under which a box pays, once: that of `open_mystery_box`."""
    return f"box:{box.source_scan_id}"
