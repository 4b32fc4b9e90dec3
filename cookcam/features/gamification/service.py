"""Awards of XP.

    xp = Xp(XpStore(), hub, now)

    async with database.transaction_as(caller) as tx:
        ...                                        # the deed
        award = await xp.award(tx, caller.user_id, "recipe_favorited", subject=str(recipe_id),
                               metadata={"recipe_id": str(recipe_id)})
    xp.announce(award)                             # after the commit
    reply = {"xp_awarded": award.xp_gained}        # what was really granted; may be 0

Awards belong into the transaction of the deed: either both happen or neither. What an action is
worth, how often it counts and whether it needs a subject is the catalogue's, `public.xp_actions`
(`spec/database.md` §3.2, §6.3); names are those of `spec/http-api-core.md` §5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from attrs import field, frozen

from cookcam.database import Transaction
from cookcam.features.gamification.models import Award
from cookcam.features.gamification.store import XpStore
from cookcam.realtime.hub import Hub

NOTHING: Mapping[str, Any] = {}


@frozen
class Xp:
    """Awards XP, and tells people of their new level."""

    store: XpStore
    hub: Hub = field(repr=False)
    now: Callable[[], datetime] = field(repr=False)

    async def award(
        self,
        tx: Transaction,
        user_id: UUID,
        action: str,
        *,
        subject: str | None = None,
        amount: int | None = None,
        metadata: Mapping[str, Any] = NOTHING,
    ) -> Award:
        """One award in the caller's transaction, which may act as anybody.

        A subject (the id of the recipe, scan, …) pays once for each action. Nearly all actions of
        the server need one; those that count once in a life take the user's id. `amount` is for the
        few actions whose worth varies. Holds the user's row until the transaction ends, so it comes
        last, after everything slow. Raises DatabaseError when the catalogue refuses.
        """
        return await self.store.award(
            tx,
            user_id,
            action,
            key=None if subject is None else f"{action}:{subject}",
            amount=amount,
            metadata=metadata,
        )

    async def paid(self, tx: Transaction, user_id: UUID, key: str) -> Award:
        """The award that a function of the database made in this transaction, to be announced.

        Raises NotFound when it made none under that key.
        """
        return await self.store.paid(tx, user_id, key)

    async def lacks(self, tx: Transaction, user_id: UUID, badge: str) -> bool:
        """Whether the user could still win a badge; False for one that is retired or unknown."""
        return await self.store.lacks(tx, user_id, badge)

    def announce(self, award: Award) -> None:
        """Tells the user's sockets of a new level (`spec/realtime.md` §6); nothing otherwise.

        After the commit: what is rolled back was never won.
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
