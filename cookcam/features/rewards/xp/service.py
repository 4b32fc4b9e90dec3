"""Awards of XP.

    xp = Xp(XpStore(), hub, now)

    async with database.transaction_as(caller) as tx:
        ...                                        # the awarded action
        award = await xp.award(tx, caller.user_id, "recipe_favorited", subject=str(recipe_id),
                               metadata={"recipe_id": str(recipe_id)})
    xp.announce(award)                             # after the commit
    response = {"xp_awarded": award.xp_gained}     # the XP granted; may be 0

An award is made in the transaction of the awarded action: either both happen or neither. The table
`public.xp_actions` lists the actions, with their XP, their limits and whether they need a subject.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from attrs import field, frozen

from cookcam.database import Transaction
from cookcam.features.rewards.xp.models import Award
from cookcam.features.rewards.xp.store import XpStore
from cookcam.realtime.notifiers import UserNotifier

NO_METADATA: Mapping[str, Any] = {}


@frozen
class Xp:
    """Awards XP and notifies users of new levels."""

    store: XpStore
    hub: UserNotifier = field(repr=False)
    now: Callable[[], datetime] = field(repr=False)

    async def award(
        self,
        tx: Transaction,
        user_id: UUID,
        action: str,
        *,
        subject: str | None = None,
        amount: int | None = None,
        metadata: Mapping[str, Any] = NO_METADATA,
    ) -> Award:
        """Makes one award in the given transaction, under any role.

        A subject (the id of the recipe, scan, …) earns XP once for each action. Most actions need
        one; actions that count once per account take the user's id. `amount` is for the few actions
        without a fixed XP. Locks the user's row until the transaction ends, so call it last, after
        slow work. Raises DatabaseError for an unknown action or a missing subject or amount.
        """
        return await self.store.award(
            tx,
            user_id,
            action,
            key=None if subject is None else f"{action}:{subject}",
            amount=amount,
            metadata=metadata,
        )

    async def award_for_key(self, tx: Transaction, user_id: UUID, key: str) -> Award:
        """The award that a database function made under `key` in this transaction.

        Raises NotFound without such an award.
        """
        return await self.store.award_for_key(tx, user_id, key)

    async def can_win_badge(self, tx: Transaction, user_id: UUID, badge: str) -> bool:
        """Whether the user can still win the badge; False for a retired or unknown badge."""
        return await self.store.can_win_badge(tx, user_id, badge)

    def announce(self, award: Award) -> None:
        """Sends a `level_up` notification to the user's devices if the award raised the level.

        Call it after the commit.
        """
        if award.level_up:
            self.hub.send_to_user(
                award.user_id,
                "user_notification",
                {
                    "type": "level_up",
                    "data": {
                        "old_level": award.old_level,
                        "new_level": award.new_level,
                        "total_xp": award.new_xp,
                    },
                    "timestamp": self.now(),
                },
            )
