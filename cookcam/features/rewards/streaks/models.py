"""The result of a cook."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from cookcam.features.rewards.xp.models import BadgedAward


@frozen
class CookResult(BadgedAward):
    """One cook: the row of the SQL function `cook_today`.

    `duplicate` is true when the day was counted before. `streak` is the JSON of the SQL function
    `check_user_streak`.
    """

    streak: dict[str, Any]
