"""Mystery boxes and their rewards."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID

from attrs import field, frozen

Rarity = Literal["common", "uncommon", "rare", "legendary"]
RewardType = Literal["xp", "subscription", "badge", "recipe_unlock", "tip"]

RARITIES: tuple[Rarity, ...] = get_args(Rarity)


@frozen
class Reward:
    """The content of a box.

    `value` by type: `{"amount"}` for xp, and for recipe_unlock, which raises the limit of the
    month; `{"id"}` for badge; `{"id", "days"}` for subscription, where the id is a tier; `{"text"}`
    for tip.
    """

    rarity: Rarity
    type: RewardType
    value: Mapping[str, Any] = field(factory=dict[str, Any])


@frozen
class Box:
    """A row of `mystery_boxes`. `source_scan_id` is None after the scan has been deleted."""

    id: UUID
    user_id: UUID
    source_scan_id: UUID | None
    rarity: Rarity
    reward_type: RewardType
    reward_value: dict[str, Any]
    opened_at: datetime


@frozen
class BoxCount:
    """The number of boxes of one rarity with one type of reward."""

    rarity: Rarity
    reward_type: RewardType
    boxes: int
