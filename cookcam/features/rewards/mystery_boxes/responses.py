"""Response bodies of the mystery box routes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NotRequired, TypedDict, cast
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from cookcam.features.rewards.mystery_boxes.models import (
    RARITIES,
    Box,
    BoxCount,
    Rarity,
    RewardType,
)
from cookcam.features.rewards.mystery_boxes.odds import BOX_ODDS, PER_MILLE

NO_BOX = "No mystery box available right now. Try again later!"


class RarityInfo(Struct, frozen=True):
    """The colours of a rarity in the app, and its probability among boxes."""

    color: str
    glow: str
    probability: str
    description: str


_LOOKS: Final[Sequence[tuple[Rarity, str, str, str]]] = (
    ("common", "#4CAF50", "rgba(76, 175, 80, 0.3)", "A common find"),
    ("uncommon", "#2196F3", "rgba(33, 150, 243, 0.3)", "An uncommon find"),
    ("rare", "#9C27B0", "rgba(156, 39, 176, 0.3)", "A rare find"),
    ("legendary", "#FFD700", "rgba(255, 215, 0, 0.5)", "A legendary find"),
)

RARITY_INFO: Final[Mapping[Rarity, RarityInfo]] = {
    rarity: RarityInfo(color, glow, f"{PER_MILLE[rarity] / 10:g}%", description)
    for rarity, color, glow, description in _LOOKS
}


class RewardValue(TypedDict):
    """The value of a reward by `reward_type`: xp and recipe_unlock set `amount`; badge sets `id`;
    subscription sets `id`, a tier, and `days`; tip sets `text`."""

    amount: NotRequired[int]
    id: NotRequired[str]
    days: NotRequired[int]
    text: NotRequired[str]


class OpenBoxResponse(Struct):
    """Only `message` is set without a box; every other field is set with one."""

    box_available: bool
    message: str | UnsetType = UNSET
    rarity: Rarity | UnsetType = UNSET
    reward_type: RewardType | UnsetType = UNSET
    reward_value: RewardValue | UnsetType = UNSET
    opened_at: datetime | UnsetType = UNSET
    rarity_info: RarityInfo | UnsetType = UNSET

    @classmethod
    def of(cls, box: Box | None) -> OpenBoxResponse:
        if box is None:
            return cls(False, NO_BOX)
        return cls(
            True,
            rarity=box.rarity,
            reward_type=box.reward_type,
            reward_value=cast("RewardValue", box.reward_value),
            opened_at=box.opened_at,
            rarity_info=RARITY_INFO[box.rarity],
        )


class MysteryBoxRow(Struct):
    id: UUID
    user_id: UUID
    rarity: Rarity
    reward_type: RewardType
    reward_value: RewardValue
    opened_at: datetime

    @classmethod
    def of(cls, box: Box) -> MysteryBoxRow:
        value = cast("RewardValue", box.reward_value)
        return cls(box.id, box.user_id, box.rarity, box.reward_type, value, box.opened_at)


class BoxHistoryResponse(Struct):
    """`total_boxes_opened` is the length of this page; clients expect that."""

    history: list[MysteryBoxRow]
    total_boxes_opened: int

    @classmethod
    def of(cls, boxes: Sequence[Box]) -> BoxHistoryResponse:
        return cls([MysteryBoxRow.of(box) for box in boxes], len(boxes))


class RarityShare(Struct):
    """`percentage` of the counted boxes, as text with one decimal."""

    count: int
    percentage: str


class BoxOdds(Struct):
    """The probabilities of a draw: that a try finds a box, and the rarities of a box."""

    box: float
    rarities: dict[Rarity, float]


ODDS: Final = BoxOdds(1 / BOX_ODDS, {rarity: share / 1000 for rarity, share in PER_MILLE.items()})


class BoxStatsResponse(Struct):
    """Contains every rarity, and the reward types that occur. `odds` are those of the draw; the
    distributions are those of the newest boxes."""

    total_boxes: int
    rarity_distribution: dict[Rarity, RarityShare]
    reward_type_distribution: dict[RewardType, int]
    odds: BoxOdds

    @classmethod
    def of(cls, counts: Sequence[BoxCount]) -> BoxStatsResponse:
        rarities, types = Counter[Rarity](), Counter[RewardType]()
        for count in counts:
            rarities[count.rarity] += count.boxes
            types[count.reward_type] += count.boxes
        total = rarities.total()
        shares: dict[Rarity, RarityShare] = {
            rarity: RarityShare(rarities[rarity], _percent(rarities[rarity], total))
            for rarity in RARITIES
        }
        return cls(total, shares, dict(types), ODDS)


def _percent(count: int, total: int) -> str:
    return f"{100 * count / max(total, 1):.1f}"
