"""The results of XP awards."""

from __future__ import annotations

from typing import TypedDict
from uuid import UUID

from attrs import frozen


class UnlockedBadge(TypedDict):
    """An achievement that an award unlocked. `points` is the XP of the achievement itself."""

    key: str
    name: str
    points: int


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


@frozen
class BadgedAward(Award):
    """An award with the badges that it unlocked: a row of the SQL function `claim_user_xp`."""

    badges: list[UnlockedBadge]


@frozen
class XpClaim:
    """An award that the app requests.

    `subject` (a recipe, a cuisine, …) earns XP once for each action; `request_key` makes
    repetitions of one request harmless. A subject takes precedence.
    """

    action: str
    subject: str | None = None
    request_key: str | None = None

    @property
    def key(self) -> str | None:
        """The key in the ledger. Its prefix keeps it apart from the keys of the server's awards."""
        if self.subject is not None:
            return f"claim:{self.action}:subject:{self.subject}"
        if self.request_key is not None:
            return f"claim:{self.action}:request:{self.request_key}"
        return None
