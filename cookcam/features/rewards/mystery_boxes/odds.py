"""Draws rewards: the odds of a box, its rarity and its reward (docs/mystery-boxes.md).

`randbelow` is `secrets.randbelow`: uniform from 0 below its argument, and unpredictable. Rolls are
integers, so the odds are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from attrs import evolve

from cookcam.features.rewards.mystery_boxes.models import Rarity, Reward
from cookcam.features.rewards.mystery_boxes.tips import TIPS

RandBelow: TypeAlias = Callable[[int], int]

BOX_ODDS: Final = 4
"""One try in four finds a box."""

PER_MILLE: Final[Mapping[Rarity, int]] = {
    "common": 900,
    "uncommon": 90,
    "rare": 9,
    "legendary": 1,
}


def _xp(rarity: Rarity, amount: int) -> Reward:
    return Reward(rarity, "xp", {"amount": amount})


def _regular(rarity: Rarity, days: int) -> Reward:
    return Reward(rarity, "subscription", {"id": "regular", "days": days})


REWARDS: Final[Mapping[Rarity, Sequence[Reward]]] = {
    "common": (_xp("common", 10), _xp("common", 15), Reward("common", "tip")),
    "uncommon": (_xp("uncommon", 50), Reward("uncommon", "recipe_unlock", {"amount": 1})),
    "rare": (
        _regular("rare", 7),
        _xp("rare", 200),
        Reward("rare", "badge", {"id": "mystery_hunter"}),
    ),
    "legendary": (_regular("legendary", 30), _xp("legendary", 1000)),
}
"""Rewards of one rarity are equally likely, and so are the tips."""


def draw(randbelow: RandBelow) -> Reward | None:
    """One draw; None without a box."""
    if randbelow(BOX_ODDS):
        return None
    rewards = REWARDS[_rarity(randbelow(sum(PER_MILLE.values())))]
    reward = rewards[randbelow(len(rewards))]
    if reward.type == "tip":
        return evolve(reward, value={"text": TIPS[randbelow(len(TIPS))]})
    return reward


def xp_replacement(reward: Reward) -> Reward:
    """The largest XP reward of the same rarity."""

    def amount(other: Reward) -> Any:
        return other.value.get("amount", 0)

    return max((other for other in REWARDS[reward.rarity] if other.type == "xp"), key=amount)


def _rarity(roll: int) -> Rarity:
    for rarity, share in PER_MILLE.items():
        if roll < share:
            return rarity
        roll -= share
    raise ValueError("roll out of range")
