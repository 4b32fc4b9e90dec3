"""A leaderboard page and a rank."""

from __future__ import annotations

from typing import Any, Literal

from attrs import frozen

Period = Literal["daily", "weekly", "monthly", "allTime"]
Audience = Literal["global", "friends", "country"]


@frozen
class Leaderboard:
    """A page of a leaderboard.

    `entries` and `updated_at` are the JSON that PostgreSQL built. `user_rank` is the caller's
    place on the leaderboard; None for guests and without XP in the period.
    """

    entries: list[dict[str, Any]]
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
