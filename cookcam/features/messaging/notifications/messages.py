"""Texts and data of the notification types (docs/notifications.md)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Final
from uuid import UUID

from attrs import field, frozen

SOUNDS: Final[Mapping[str, str]] = {
    "daily_checkin": "default",
    "achievement": "achievement",
    "streak_warning": "warning",
}


@frozen
class Notification:
    """A notification for one user, who gets at most one with the same `dedupe_key`."""

    user_id: UUID
    type: str
    title: str = field(repr=False)
    body: str = field(repr=False)
    data: Mapping[str, str]
    dedupe_key: str
    expires_at: datetime


def daily_checkin(user_id: UUID, day: date, ends: datetime) -> Notification:
    """`day` is the user's local day, which ends at `ends`."""
    return Notification(
        user_id,
        "daily_checkin",
        "What's cooking today?",
        "Scan your ingredients and find something to cook.",
        {"type": "daily_checkin", "action": "open_camera"},
        f"daily_checkin:{day}",
        ends,
    )


def streak_warning(user_id: UUID, day: date, ends: datetime, streak: int) -> Notification:
    """`streak` is in days; it ends with the local `day`, at `ends`."""
    days = "1 day" if streak == 1 else f"{streak} days"
    return Notification(
        user_id,
        "streak_warning",
        "Your streak is about to end",
        f"Cook something before midnight to keep your streak of {days}.",
        {"type": "streak_warning", "action": "open_camera", "urgency": "high"},
        f"streak_warning:{day}",
        ends,
    )


def achievement(user_id: UUID, key: str, name: str, xp: int, expires_at: datetime) -> Notification:
    return Notification(
        user_id,
        "achievement",
        "Achievement unlocked!",
        f"{name}: +{xp} XP" if xp else name,
        {"type": "achievement", "action": "open_profile"},
        f"achievement:{key}",
        expires_at,
    )
