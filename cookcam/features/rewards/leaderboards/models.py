"""Which users a leaderboard ranks, its pages, and ranks."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from attrs import frozen

Period = Literal["daily", "weekly", "monthly", "allTime"]
Audience = Literal["global", "friends", "country"]


@frozen
class Board:
    """A ranking of all users; or of `friends_of` and the users they follow; or of a country."""

    period: Period
    friends_of: UUID | None = None
    country: str | None = None


@frozen
class Leaderboard:
    """A page of a leaderboard.

    `entries` is a JSON array that PostgreSQL built, `updated_at` the time of it. `user_rank` is the
    caller's place on the leaderboard; None for guests and without XP in the period.
    """

    entries: str
    updated_at: str
    user_rank: int | None


@frozen
class UserRank:
    """`rank` is one more than the number of users with more XP; None without XP in the period.

    `user_xp` is the lifetime XP; `total_users` counts the users with XP in the period.
    """

    rank: int | None
    total_users: int
    user_xp: int
    period_xp: int
