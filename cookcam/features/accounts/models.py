"""Stored profiles."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from attrs import field, frozen


@frozen
class Profile:
    """A row of `users` in its owner's view, without the push token.

    Nothing is pushed in the quiet hours, `HH:MM` in the user's time zone; equal times mean none.
    """

    id: UUID
    email: str | None = field(repr=False)
    name: str | None = field(repr=False)
    avatar_url: str | None
    creator_bio: str | None
    creator_specialty: str | None
    level: int
    xp: int
    total_xp: int
    streak_current: int
    streak_shields: int
    is_creator: bool
    creator_tier: int
    onboarding_completed: bool
    meal_prep_enabled: bool
    default_serving_size: int
    default_meal_prep_count: int
    kitchen_appliances: list[str]
    dietary_preferences: list[str]
    cuisine_preferences: list[str]
    cooking_skill_level: str
    timezone: str
    country: str | None
    notifications_enabled: bool
    notification_preferences: dict[str, bool]
    quiet_hours_start: str | None
    quiet_hours_end: str | None
    created_at: datetime
    updated_at: datetime


@frozen
class PublicCard:
    """The public summary of a user, shown next to their content."""

    id: UUID
    name: str | None = field(repr=False)
    avatar_url: str | None
    level: int


@frozen
class ProfileChanges:
    """Changes to a profile; None leaves a field unchanged."""

    name: str | None = None
    avatar_url: str | None = None
    is_creator: bool | None = None
    creator_bio: str | None = None
    creator_specialty: str | None = None
    onboarding_completed: bool | None = None
    meal_prep_enabled: bool | None = None
    default_serving_size: int | None = None
    default_meal_prep_count: int | None = None
    kitchen_appliances: list[str] | None = None
    dietary_preferences: list[str] | None = None
    cuisine_preferences: list[str] | None = None
    cooking_skill_level: str | None = None
    timezone: str | None = None
    country: str | None = None
    notifications_enabled: bool | None = None
    notification_preferences: dict[str, bool] | None = None
    quiet_hours_start: str | None = None
    quiet_hours_end: str | None = None
    clears_quiet_hours: bool = False

    @property
    def is_empty(self) -> bool:
        return self == ProfileChanges()
