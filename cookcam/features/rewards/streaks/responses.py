"""Response bodies of the streak routes."""

from __future__ import annotations

from datetime import date

from msgspec import Struct, convert, field

from cookcam.features.rewards.streaks.models import CookResult
from cookcam.features.rewards.xp.models import UnlockedBadge

Day = date


class StreakStatus(Struct):
    """`current_streak` is 0 once an unfrozen day was missed. `last_check_in` is the last cooked
    day; `streak_shields` the freeze tokens left."""

    current_streak: int
    longest_streak: int
    checked_in_today: bool
    last_check_in: Day | None
    streak_shields: int


class StreakStatusResponse(Struct):
    """PostgreSQL builds this body."""

    success: bool
    streak_data: StreakStatus


class CookResponse(Struct):
    """`xp_awarded` has the XP of the streak, its milestones and badges."""

    success: bool
    streak_data: StreakStatus
    already_cooked_today: bool
    xp_awarded: int
    new_total_xp: int
    new_level: int
    level_up: bool
    badges_unlocked: list[UnlockedBadge]

    @classmethod
    def of(cls, result: CookResult) -> CookResponse:
        return cls(
            success=True,
            streak_data=convert(result.streak, StreakStatus),
            already_cooked_today=result.duplicate,
            xp_awarded=result.xp_gained,
            new_total_xp=result.new_xp,
            new_level=result.new_level,
            level_up=result.level_up,
            badges_unlocked=result.badges,
        )


class FreezeResponse(Struct):
    """`success` is false when the day cannot be frozen; no token is spent then."""

    success: bool


class StreakDay(Struct):
    """A day with a cooked recipe, or a frozen one."""

    date: Day
    recipes_cooked: int
    xp_earned: int
    freeze_used: bool


class StreakHistoryResponse(Struct):
    """`days` are in order, without missed ones. PostgreSQL builds this body."""

    streak_data: StreakStatus
    first: Day = field(name="from")
    last: Day = field(name="to")
    days: list[StreakDay]
