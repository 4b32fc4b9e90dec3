"""Awards of XP.

    xp = Xp(XpStore(), notifier, now)

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

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from attrs import field, frozen

from cookcam.database import Transaction
from cookcam.errors import ValidationError
from cookcam.features.rewards.xp.models import Award, BadgedAward, UnlockedBadge, XpClaim
from cookcam.features.rewards.xp.store import ProgressStore, XpStore
from cookcam.identity import Identity
from cookcam.realtime.notifiers import UserNotifier

NO_METADATA: Mapping[str, Any] = {}


@frozen
class Xp:
    """Awards XP and notifies users of new levels."""

    store: XpStore
    notifier: UserNotifier = field(repr=False)
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
            self._notify(
                award.user_id,
                "level_up",
                {
                    "old_level": award.old_level,
                    "new_level": award.new_level,
                    "total_xp": award.new_xp,
                },
            )

    def announce_badges(self, user_id: UUID, badges: Sequence[UnlockedBadge]) -> None:
        """Sends an `achievement` notification for each badge. Call it after the commit."""
        for badge in badges:
            self._notify(user_id, "achievement", dict(badge))

    def _notify(self, user_id: UUID, kind: str, data: Mapping[str, Any]) -> None:
        self.notifier.send_to_user(
            user_id, "user_notification", {"type": kind, "data": data, "timestamp": self.now()}
        )


@frozen
class Progress:
    """Awards that the app requests, and the progress of a user."""

    store: ProgressStore
    xp: Xp

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
        self.xp.announce(award)
        self.xp.announce_badges(award.user_id, award.badges)
        return award

    async def json_of(self, caller: Identity) -> bytes:
        """The caller's level, newest award and unlocked achievements as the response body."""
        return await self.store.progress_json(caller.user_id)
