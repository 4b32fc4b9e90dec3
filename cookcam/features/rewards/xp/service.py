"""Awards of XP.

    xp = Xp(XpStore())

    async with database.transaction_as(caller) as tx:
        ...                                        # the awarded action
        award = await xp.award(tx, caller.user_id, "recipe_favorited", subject=str(recipe_id),
                               metadata={"recipe_id": str(recipe_id)})
    response = {"xp_awarded": award.xp_gained}     # the XP granted; may be 0

An award is made in the transaction of the awarded action: either both happen or neither. The table
`public.xp_actions` lists the actions, with their XP, their limits and whether they need a subject.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from attrs import frozen

from cookcam.database import Transaction
from cookcam.errors import ValidationError
from cookcam.features.rewards.xp.models import Award, BadgedAward, XpClaim
from cookcam.features.rewards.xp.store import ProgressStore, XpStore
from cookcam.identity import Identity

NO_METADATA: Mapping[str, Any] = {}


@frozen
class Xp:
    """Awards XP. Database triggers write the notifications of new levels and achievements, in the
    same transaction (docs/notifications.md)."""

    store: XpStore

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

    async def can_win_badge(self, tx: Transaction, user_id: UUID, badge: str) -> bool:
        """Whether the user can still win the badge; False for a retired or unknown badge."""
        return await self.store.can_win_badge(tx, user_id, badge)


@frozen
class Progress:
    """Awards that the app requests, and the progress of a user."""

    store: ProgressStore

    async def claim(
        self, caller: Identity, claim: XpClaim, metadata: Mapping[str, Any]
    ) -> BadgedAward:
        """Makes the award with the XP of the catalogue, within the limits of the action.

        Actions that only the server awards earn nothing and are `capped`. Concurrent claims with
        one key make one award. Raises ValidationError for an unknown action.
        """
        award = await self.store.claim(caller.user_id, claim, metadata)
        if award is None:
            raise ValidationError(
                "Unknown action", error="Unknown action", details={"field": "action"}
            )
        return award

    async def json_of(self, caller: Identity) -> bytes:
        """The caller's level, newest award and unlocked achievements as the response body."""
        return await self.store.progress_json(caller.user_id)
