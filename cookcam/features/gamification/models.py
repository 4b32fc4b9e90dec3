"""What an award of XP came to."""

from __future__ import annotations

from uuid import UUID

from attrs import frozen


@frozen
class Award:
    """One award: the row that the SQL function `add_user_xp` returns.

    `xp_gained` is what was really granted: 0 for a repetition (`duplicate`), for an action used up
    for the day or the month (`capped`), and for one that is a mere hint. XP and levels are those
    before and after.
    """

    user_id: UUID
    xp_gained: int
    old_xp: int
    new_xp: int
    old_level: int
    new_level: int
    level_up: bool
    capped: bool
    duplicate: bool
