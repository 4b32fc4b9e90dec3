"""The rules of streaks (docs/rewards.md)."""

from __future__ import annotations

from datetime import date

from attrs import frozen

from cookcam.errors import ValidationError
from cookcam.features.rewards.streaks.models import CookResult
from cookcam.features.rewards.streaks.store import StreakStore
from cookcam.identity import Identity


@frozen
class Streaks:
    """A streak is counted in days of the user's time zone."""

    store: StreakStore

    async def cook(self, caller: Identity) -> CookResult:
        """Counts a cook today. The first cook of a day earns XP, and continues or restarts the
        streak; a further one only counts the recipe."""
        return await self.store.cook(caller.user_id)

    async def freeze(self, caller: Identity, day: date) -> bool:
        """Spends a token so that the missed day does not end the streak.

        False, and nothing is spent, unless the day is yesterday, was neither cooked nor frozen,
        and a streak is alive and a token left.
        """
        return await self.store.freeze(caller, day)

    async def status_json(self, caller: Identity) -> bytes:
        """The state of the caller's streak as the response body. Changes nothing."""
        return await self.store.status_json(caller.user_id)

    async def history_json(self, caller: Identity, first: date | None, last: date | None) -> bytes:
        """The caller's streak and cooked days as the response body. Raises ValidationError."""
        if first is not None and last is not None and first > last:
            raise ValidationError.of("from", "must not be after `to`")
        return await self.store.history_json(caller.user_id, first, last)
