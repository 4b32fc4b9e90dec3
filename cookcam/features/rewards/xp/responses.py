"""Response bodies of the XP routes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from cookcam.features.rewards.xp.models import BadgedAward, UnlockedBadge


class XpAwardRow(Struct):
    """One award. `…_xp` and `…_total_xp` are the same numbers: older clients read either."""

    user_id: UUID
    action: str
    xp_gained: int
    old_xp: int
    new_xp: int
    old_total_xp: int
    new_total_xp: int
    old_level: int
    new_level: int
    level_up: bool


class AddXpResponse(Struct):
    """`xp_awarded` is the XP granted.

    It is 0 for a repetition (`duplicate`), and for an action that is at its limit or that only the
    server awards (`capped`).
    """

    success: bool
    result: list[XpAwardRow]
    xp_awarded: int
    new_total_xp: int
    new_level: int
    level_up: bool
    capped: bool
    duplicate: bool
    badges_unlocked: list[UnlockedBadge]

    @classmethod
    def of(cls, action: str, award: BadgedAward) -> AddXpResponse:
        row = XpAwardRow(
            user_id=award.user_id,
            action=action,
            xp_gained=award.xp_gained,
            old_xp=award.old_xp,
            new_xp=award.new_xp,
            old_total_xp=award.old_xp,
            new_total_xp=award.new_xp,
            old_level=award.old_level,
            new_level=award.new_level,
            level_up=award.level_up,
        )
        return cls(
            success=True,
            result=[row],
            xp_awarded=award.xp_gained,
            new_total_xp=award.new_xp,
            new_level=award.new_level,
            level_up=award.level_up,
            capped=award.capped,
            duplicate=award.duplicate,
            badges_unlocked=award.badges,
        )


class UserStats(Struct):
    level: int
    xp: int
    total_xp: int
    streak_current: int
    streak_shields: int


class RecentProgress(Struct):
    """The newest award. Empty before the first."""

    id: UUID | UnsetType = UNSET
    user_id: UUID | UnsetType = UNSET
    action: str | UnsetType = UNSET
    xp_gained: int | UnsetType = UNSET
    total_xp: int | UnsetType = UNSET
    old_level: int | UnsetType = UNSET
    new_level: int | UnsetType = UNSET
    metadata: (
        Annotated[dict[str, Any], Meta(extra_json_schema={"additionalProperties": True})]
        | UnsetType
    ) = UNSET
    created_at: datetime | UnsetType = UNSET


class AchievementSummary(Struct):
    """`points` is the XP reward, `type` the category."""

    id: UUID
    name: str
    description: str | None
    type: str
    points: int
    badge_icon: str | None


class UnlockedAchievement(Struct):
    achievement_id: UUID
    unlocked_at: datetime
    achievements: AchievementSummary


class ProgressResponse(Struct):
    """`achievements` are the unlocked ones, newest first. PostgreSQL builds this body."""

    user_stats: UserStats | None
    recent_progress: RecentProgress
    achievements: list[UnlockedAchievement]
