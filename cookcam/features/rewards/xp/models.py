"""The result of an XP award."""

from __future__ import annotations

from uuid import UUID

from attrs import frozen


@frozen
class Award:
    """One award: the row that the SQL function `add_user_xp` returns.

    `xp_gained` is the XP granted: 0 for a repetition (`duplicate`), for an action at its daily or
    monthly limit (`capped`), and for an action worth no XP. `old_…` and `new_…` are the XP and
    level before and after.
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
