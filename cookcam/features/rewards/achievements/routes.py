"""Route of achievements under `/gamification`."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from cookcam.features.rewards.achievements.store import AchievementStore
from cookcam.http import EncodedJson, Routes, document_response, errors_as
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in


class AchievementRow(Struct):
    """`points` is the XP reward, `type` the category."""

    id: UUID
    key: str
    name: str
    description: str | None
    type: str
    rarity: str
    points: int
    badge_icon: str | None
    progress: int
    unlocked: bool
    unlocked_at: datetime | None


class AchievementsResponse(Struct):
    """`unlocked` counts the caller's unlocked ones. PostgreSQL builds this body."""

    achievements: list[AchievementRow]
    total: int
    unlocked: int


def routes(achievements: AchievementStore) -> Routes:
    bp = Routes("achievements", __name__, legacy=True)

    @bp.get("/gamification/achievements")
    @errors_as(unexpected="Failed to fetch achievements")
    @signed_in
    @document_response(AchievementsResponse)
    async def list_achievements(caller: Identity) -> EncodedJson:
        """All achievements, with whether the caller has unlocked them."""
        return EncodedJson(await achievements.list_json(caller))

    return bp
