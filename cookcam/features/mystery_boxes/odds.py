"""What a try may come to, and how likely: `spec/database.md` §6.8.

`randbelow` is that of `secrets`: a number from 0 up to its argument, each as likely, that nobody
can foresee. Rolls are whole numbers, so the odds are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from attrs import evolve

from cookcam.features.mystery_boxes.models import Rarity, Reward
from cookcam.features.mystery_boxes.tips import TIPS

RandBelow: TypeAlias = Callable[[int], int]

TRIES_PER_BOX: Final = 4
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
"""Those of one rarity are equally likely. Which tip it is, is drawn too."""


def draw(randbelow: RandBelow) -> Reward | None:
    """One try; None where there is no box."""
    if randbelow(TRIES_PER_BOX):
        return None
    rewards = REWARDS[_rarity(randbelow(sum(PER_MILLE.values())))]
    reward = rewards[randbelow(len(rewards))]
    if reward.type == "tip":
        return evolve(reward, value={"text": TIPS[randbelow(len(TIPS))]})
    return reward


def xp_instead(reward: Reward) -> Reward:
    """The XP of the same rarity."""

    def amount(other: Reward) -> Any:
        return other.value.get("amount", 0)

    return max((one for one in REWARDS[reward.rarity] if one.type == "xp"), key=amount)


def _rarity(roll: int) -> Rarity:
    for rarity, share in PER_MILLE.items():
        if roll < share:
            return rarity
        roll -= share
    raise ValueError("the roll is beyond the odds")
