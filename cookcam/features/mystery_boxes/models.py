"""Rewards and the boxes they come in."""

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
    """What is in a box. `value` by its type: `{"amount"}` of xp and recipe_unlock; `{"id"}` of a
    badge, and `{"id", "days"}` of a subscription, whose id is a tier; `{"text"}` of a tip."""

    rarity: Rarity
    type: RewardType
    value: Mapping[str, Any] = field(factory=dict[str, Any])


@frozen
class Box:
    """A row of `mystery_boxes`. `source_scan_id` is None once the scan is gone."""

    id: UUID
    user_id: UUID
    source_scan_id: UUID | None
    rarity: Rarity
    reward_type: RewardType
    reward_value: dict[str, Any]
    opened_at: datetime


@frozen
class Tally:
    """How many boxes of one rarity held one type of reward."""

    rarity: Rarity
    reward_type: RewardType
    boxes: int
