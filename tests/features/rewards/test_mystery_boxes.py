"""Mystery boxes on the whole program: tries, odds and granted rewards."""

from __future__ import annotations

import secrets
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable
from fractions import Fraction
from itertools import product
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import pytest
import trio

from cookcam.database import Database
from cookcam.features.billing.ledger.gifts import Gifts
from cookcam.features.billing.ledger.ledger import SubscriptionLedger
from cookcam.features.billing.tiers.quotas import Quotas
from cookcam.features.billing.tiers.store import SubscriptionStore
from cookcam.features.rewards.mystery_boxes.odds import PER_MILLE, REWARDS, draw
from cookcam.features.rewards.mystery_boxes.service import MysteryBoxes
from cookcam.features.rewards.mystery_boxes.store import BoxStore
from cookcam.features.rewards.mystery_boxes.tips import TIPS
from cookcam.features.rewards.xp.service import Xp
from cookcam.features.rewards.xp.store import XpStore
from cookcam.identity import Identity
from cookcam.realtime.hub import Hub
from tests.features.conftest import ApiUser
from tests.support.hubs import connected
from tests.support.profiles import now
from tests.support.social import UNKNOWN, ApiServer, open_api_server, refused
from tests.support.users import create_user

NOTHING = {
    "box_available": False,
    "message": "No mystery box available right now. Try again later!",
}
NO_BOX = (1,)
"""Rolls of a try; of those that find a box the second is the rarity, the third the reward."""
TEN_XP, FIFTEEN_XP, TIP = (0, 0, 0), (0, 899, 1), (0, 0, 2, 3)
FIFTY_XP, UNLOCK = (0, 900, 0), (0, 989, 1)
WEEK, BADGE, XP_200 = (0, 990, 0), (0, 998, 2), (0, 990, 1)
MONTH, XP_1000 = (0, 999, 0), (0, 999, 1)


ODDS = {
    "box": 0.25,
    "rarities": {"common": 0.9, "uncommon": 0.09, "rare": 0.009, "legendary": 0.001},
}


class Dice:
    """Fixed rolls; a draw without a box when none is left."""

    def __init__(self) -> None:
        self.rolls: deque[int] = deque()
        self.luck = 1

    def will_be(self, *tries: Iterable[int]) -> None:
        self.rolls.extend(roll for rolls in tries for roll in rolls)

    def __call__(self, below: int) -> int:
        roll = self.rolls.popleft() if self.rolls else self.luck
        assert 0 <= roll < below
        return roll


@pytest.fixture
def dice(monkeypatch: pytest.MonkeyPatch) -> Dice:
    """Replaces `secrets.randbelow`, which the program draws with."""
    made = Dice()
    monkeypatch.setattr(secrets, "randbelow", made)
    return made


@pytest.fixture
async def api(database_url: str, tmp_path: Path, dice: Dice) -> AsyncIterator[ApiServer]:
    async with open_api_server(database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
async def ann(api: ApiServer) -> ApiUser:
    return await api.person("Ann")


async def scan(api: ApiServer, person: ApiUser, number: int = 1) -> list[Any]:
    """New scans of today: a little ahead, so that midnight does not come between."""
    rows = await api.sql(
        "insert into ingredient_scans (user_id, detected_ingredients, created_at)"
        " select %(id)s, '[]', now() + make_interval(mins => n)"
        " from generate_series(1, %(number)s) as n returning id",
        id=person.id,
        number=number,
    )
    return [row[0] for row in rows]


async def opened(person: ApiUser, spelling: str = "mysteryBox") -> dict[str, Any]:
    response = await person.post(f"/{spelling}/open", {})
    assert response.status_code == 200, response.text
    return response.json()


async def won(api: ApiServer, person: ApiUser, dice: Dice, rolls: Iterable[int]) -> dict[str, Any]:
    """Opens a box for a new scan; returns its response."""
    await scan(api, person)
    dice.will_be(rolls)
    box = await opened(person)
    assert box["box_available"] is True, box
    return box


async def subscriptions(api: ApiServer, person: ApiUser) -> list[Any]:
    return await api.sql(
        "select provider, tier_id, status, superseded_status, cancel_at_period_end,"
        " round(extract(epoch from current_period_end - now()) / 86400)::int"
        " from user_subscriptions where user_id = %(id)s order by provider",
        id=person.id,
    )


async def subscribe(
    api: ApiServer,
    person: ApiUser,
    *,
    provider: str = "stripe",
    tier: int = 2,
    status: str = "active",
    days: int = 20,
) -> None:
    """`days` from now the period ends."""
    await api.sql(
        "insert into user_subscriptions (user_id, tier_id, status, current_period_start,"
        " current_period_end, provider, provider_subscription_id)"
        " values (%(id)s, %(tier)s, %(status)s, now() - interval '30 days',"
        " now() + make_interval(days => %(days)s), %(provider)s, %(ref)s)",
        id=person.id,
        tier=tier,
        status=status,
        days=days,
        provider=provider,
        ref=f"sub_{uuid4().hex}",
    )


async def tier(person: ApiUser) -> str:
    return (await person.get("/subscription/status")).json()["tier_slug"]


class TestOdds:
    def test_odds_match_the_documented_table(self):
        chances: Counter[tuple[str, str, Any]] = Counter()
        for available, roll, pick in product(range(4), range(1000), range(6)):
            # Six is a multiple of the number of rewards of each rarity.
            rolls = iter((available, roll, pick, 0))
            reward = draw(lambda below, rolls=rolls: next(rolls) % below)
            if reward is None:
                chances["none", "none", 0] += 1
            else:
                amount = reward.value.get("amount", reward.value.get("days", 0))
                chances[reward.rarity, reward.type, amount] += 1
        total = chances.total()
        common, uncommon, rare, legendary = (Fraction(share, 4000) for share in (900, 90, 9, 1))
        assert {what: Fraction(count, total) for what, count in chances.items()} == {
            ("none", "none", 0): Fraction(3, 4),
            ("common", "xp", 10): common / 3,
            ("common", "xp", 15): common / 3,
            ("common", "tip", 0): common / 3,
            ("uncommon", "xp", 50): uncommon / 2,
            ("uncommon", "recipe_unlock", 1): uncommon / 2,
            ("rare", "subscription", 7): rare / 3,
            ("rare", "xp", 200): rare / 3,
            ("rare", "badge", 0): rare / 3,
            ("legendary", "subscription", 30): legendary / 2,
            ("legendary", "xp", 1000): legendary / 2,
        }

    def test_odds_cover_every_rarity_and_tip(self):
        assert sum(PER_MILLE.values()) == 1000
        assert PER_MILLE.keys() == REWARDS.keys()
        rolls = [iter((0, 0, 2, number)) for number in range(len(TIPS))]
        found = [draw(lambda _, it=it: next(it)) for it in rolls]
        assert [reward and reward.value for reward in found] == [{"text": tip} for tip in TIPS]

    def test_million_draws_follow_the_odds(self):
        """Chi-squared with 10 degrees of freedom; 37.3 has a probability of 0.00005."""
        random = Random(2026).random

        def below(limit: int) -> int:
            return int(random() * limit)

        counts: Counter[tuple[str, str, Any]] = Counter()
        tips: Counter[str] = Counter()
        for _ in range(1_000_000):
            reward = draw(below)
            if reward is None:
                counts["none", "none", 0] += 1
                continue
            value = reward.value
            counts[reward.rarity, reward.type, value.get("amount", value.get("days", 0))] += 1
            if reward.type == "tip":
                tips[value["text"]] += 1
        expected: dict[tuple[str, str, Any], float] = {("none", "none", 0): 750_000}
        for rarity, rewards in REWARDS.items():
            for reward in rewards:
                amount = reward.value.get("amount", reward.value.get("days", 0))
                share = PER_MILLE[rarity] / len(rewards)
                expected[rarity, reward.type, amount] = 250 * share
        assert counts.keys() == expected.keys()
        assert sum((counts[k] - mean) ** 2 / mean for k, mean in expected.items()) < 37.3
        mean = tips.total() / len(TIPS)
        # 31 degrees of freedom; 72.1 has the same probability.
        assert sum((tips[tip] - mean) ** 2 / mean for tip in TIPS) < 72.1


class TestTries:
    async def test_guests_are_rejected(self, api: ApiServer, ann: ApiUser):
        for path in ("/mysteryBox", "/mystery-box"):
            response = await api.guest.post(f"{path}/open", {"user_id": ann.id})
            refused(response, 401, "Authentication required")
            for what in ("history", f"history/{ann.id}", "stats"):
                response = await api.guest.get(f"{path}/{what}")
                refused(response, 401, "Authentication required")

    async def test_users_access_only_their_own_boxes(
        self, api: ApiServer, ann: ApiUser, dice: Dice
    ):
        bob = await api.person("Bob")
        await scan(api, ann)
        dice.luck = 0
        for named in (ann.id, "ann", UNKNOWN):
            response = await bob.post("/mystery-box/open", {"user_id": named})
            assert refused(response, 403, "Access denied")["code"] == "AUTHORIZATION_ERROR"
            refused(await bob.get(f"/mysteryBox/history/{named}"), 403, "Access denied")
        assert (await bob.get("/mysteryBox/history")).json()["history"] == []
        assert (await bob.post("/mysteryBox/open", {"user_id": 7})).status_code == 400
        # The try was left to Ann, who may name herself.
        named = {"user_id": ann.id.upper()}
        assert (await ann.post("/mystery-box/open", named)).json()["box_available"] is True

    async def test_no_box_without_a_scan(self, api: ApiServer, ann: ApiUser, dice: Dice):
        dice.luck = 0
        await api.sql(
            "insert into ingredient_scans (user_id, detected_ingredients, created_at) values"
            " (%(id)s, '[]', date_trunc('day', now() at time zone 'UTC') at time zone 'UTC'"
            " - interval '1 second')",
            id=ann.id,
        )
        for spelling in ("mysteryBox", "mystery-box"):
            assert await opened(ann, spelling) == NOTHING
        response = await ann.post("/mysteryBox/open", {"user_id": None})
        assert (response.status_code, response.json()) == (200, NOTHING)

    async def test_each_scan_gives_one_try(self, api: ApiServer, ann: ApiUser, dice: Dice):
        first, second = await scan(api, ann, 2)
        dice.will_be(NO_BOX, TEN_XP)
        assert await opened(ann) == NOTHING
        assert (await opened(ann))["box_available"] is True
        dice.luck = 0
        assert await opened(ann) == NOTHING
        boxes = await api.sql(
            "select source_scan_id from mystery_boxes where user_id = %(id)s", id=ann.id
        )
        assert boxes == [(second,)]
        tried = await api.sql(
            "select id from ingredient_scans where user_id = %(id)s and box_tried_at is not null",
            id=ann.id,
        )
        assert {row[0] for row in tried} == {first, second}

    async def test_repeated_idempotency_key_is_the_same_try(
        self, api: ApiServer, ann: ApiUser, dice: Dice
    ):
        await scan(api, ann, 2)
        dice.luck = 0
        keyed = {"Idempotency-Key": uuid4().hex}
        first = await ann.post("/mysteryBox/open", {}, headers=keyed)
        again = await ann.post("/mysteryBox/open", {}, headers=keyed)
        assert again.json() == first.json()
        assert again.headers["Idempotency-Replayed"] == "true"
        assert (await ann.get("/mysteryBox/history")).json()["total_boxes_opened"] == 1

    async def test_deleted_account_has_no_tries(self, api: ApiServer, ann: ApiUser):
        await api.sql("delete from auth.users where id = %(id)s", id=ann.id)
        answer = await ann.post("/mysteryBox/open")
        assert (answer.status_code, answer.json()["code"]) == (401, "TOKEN_EXPIRED")


class TestConcurrentTries:
    async def test_concurrent_tries_respect_the_daily_limit(
        self, api: ApiServer, ann: ApiUser, dice: Dice
    ):
        await scan(api, ann, 10)
        dice.luck = 0
        responses = await at_once(ann, 100)
        assert Counter(response["box_available"] for response in responses) == {True: 3, False: 97}
        assert await api.xp(ann) == 30
        assert len((await ann.get("/mysteryBox/history")).json()["history"]) == 3

    async def test_concurrent_tries_use_each_scan_once(
        self, api: ApiServer, ann: ApiUser, dice: Dice
    ):
        await scan(api, ann, 2)
        dice.luck = 0
        responses = await at_once(ann, 100)
        assert Counter(response["box_available"] for response in responses) == {True: 2, False: 98}
        assert await api.xp(ann) == 20

    async def test_scans_of_yesterday_give_no_try(self, api: ApiServer, ann: ApiUser, dice: Dice):
        await api.sql(
            "insert into mystery_boxes (user_id, rarity, reward_type, reward_value, opened_at)"
            " select %(id)s, 'common', 'xp', '{}',"
            " date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' - interval '1 second'"
            " from generate_series(1, 3)",
            id=ann.id,
        )
        await won(api, ann, dice, TEN_XP)


async def at_once(person: ApiUser, times: int) -> list[dict[str, Any]]:
    responses: list[dict[str, Any]] = []

    async def once(number: int) -> None:
        responses.append(await opened(person, ("mysteryBox", "mystery-box")[number % 2]))

    async with trio.open_nursery() as nursery:
        for number in range(times):
            nursery.start_soon(once, number)
    return responses


class TestRewards:
    async def test_xp_reward_is_granted_with_the_box(
        self, api: ApiServer, ann: ApiUser, dice: Dice
    ):
        box = await won(api, ann, dice, FIFTEEN_XP)
        opened_at = box.pop("opened_at")
        assert box == {
            "box_available": True,
            "rarity": "common",
            "reward_type": "xp",
            "reward_value": {"amount": 15},
            "rarity_info": {
                "color": "#4CAF50",
                "glow": "rgba(76, 175, 80, 0.3)",
                "probability": "90%",
                "description": "A common find",
            },
        }
        history = (await ann.get("/mystery-box/history")).json()
        (row,) = history["history"]
        assert history["total_boxes_opened"] == 1
        assert row.keys() == {
            "id", "user_id", "rarity", "reward_type", "reward_value", "opened_at",
        }  # fmt: skip
        assert (row["user_id"], row["opened_at"]) == (ann.id, opened_at)
        ledger = await api.sql(
            "select action, xp_gained, idempotency_key from user_progress"
            " where user_id = %(id)s and action <> 'UNLOCK_ACHIEVEMENT'", id=ann.id,
        )  # fmt: skip
        scanned = await api.value(
            "select source_scan_id from mystery_boxes where user_id = %(id)s", id=ann.id
        )
        assert ledger == [("MYSTERY_BOX", 15, f"box:{scanned}")]

    async def test_tip_and_recipe_unlock_rewards(self, api: ApiServer, ann: ApiUser, dice: Dice):
        tip = await won(api, ann, dice, TIP)
        assert (tip["reward_type"], tip["reward_value"]) == ("tip", {"text": TIPS[3]})
        unlock = await won(api, ann, dice, UNLOCK)
        assert (unlock["rarity"], unlock["reward_type"]) == ("uncommon", "recipe_unlock")
        assert unlock["reward_value"] == {"amount": 1}
        assert unlock["rarity_info"]["color"] == "#2196F3"
        assert await api.xp(ann) == 0

    async def test_badge_already_won_becomes_xp(self, api: ApiServer, ann: ApiUser, dice: Dice):
        badge = await won(api, ann, dice, BADGE)
        assert (badge["reward_type"], badge["reward_value"]) == ("badge", {"id": "mystery_hunter"})
        assert await api.value(
            "select a.key from user_achievements ua join achievements a on a.id = ua.achievement_id"
            " where ua.user_id = %(id)s and ua.unlocked_at is not null"
            " and a.key = 'mystery_hunter'",
            id=ann.id,
        ) == "mystery_hunter"  # fmt: skip
        again = await won(api, ann, dice, BADGE)
        assert (again["rarity"], again["reward_type"]) == ("rare", "xp")
        assert again["reward_value"] == {"amount": 200}
        assert await api.xp(ann) == 200

    async def test_box_is_not_opened_when_its_reward_fails(
        self, api: ApiServer, ann: ApiUser, dice: Dice
    ):
        await scan(api, ann)
        for rolls, table in ((TEN_XP, "user_progress"), (WEEK, "subscription_history")):
            dice.will_be(rolls)
            async with api.failing("insert", table):
                response = await ann.post("/mysteryBox/open", {})
                refused(response, 500, "Failed to open mystery box")
        assert (await ann.get("/mysteryBox/history")).json()["history"] == []
        assert await subscriptions(api, ann) == []
        # Nor is the try used up.
        dice.will_be(TEN_XP)
        assert (await opened(ann))["box_available"] is True


class TestSubscriptionRewards:
    async def test_user_without_subscription_gets_a_week(
        self, api: ApiServer, ann: ApiUser, dice: Dice
    ):
        assert await tier(ann) == "free"
        box = await won(api, ann, dice, WEEK)
        assert (box["rarity"], box["reward_type"]) == ("rare", "subscription")
        assert box["reward_value"] == {"id": "regular", "days": 7}
        assert await tier(ann) == "regular"
        assert await subscriptions(api, ann) == [("manual", 2, "active", None, True, 7)]
        history = await api.sql(
            "select h.action, h.source, h.event_ref = 'box:' || b.source_scan_id"
            " from subscription_history h join mystery_boxes b on b.user_id = h.user_id"
            " where h.user_id = %(id)s",
            id=ann.id,
        )
        assert history == [("created", "server", True)]

    async def test_further_days_extend_the_subscription(
        self, api: ApiServer, ann: ApiUser, dice: Dice
    ):
        await won(api, ann, dice, WEEK)
        await won(api, ann, dice, MONTH)
        assert await subscriptions(api, ann) == [("manual", 2, "active", None, True, 37)]

    async def test_expired_days_start_again_now(self, api: ApiServer, ann: ApiUser, dice: Dice):
        await won(api, ann, dice, WEEK)
        await api.sql(
            "update user_subscriptions set current_period_start = now() - interval '9 days',"
            " current_period_end = now() - interval '2 days' where user_id = %(id)s",
            id=ann.id,
        )
        assert await tier(ann) == "free"
        await won(api, ann, dice, WEEK)
        assert await subscriptions(api, ann) == [("manual", 2, "active", None, True, 7)]
        assert await tier(ann) == "regular"

    async def test_days_cancelled_immediately_start_again_now(
        self, api: ApiServer, ann: ApiUser, dice: Dice
    ):
        await won(api, ann, dice, MONTH)
        await ann.post("/subscription/cancel", {"immediately": True})
        assert await tier(ann) == "free"
        await won(api, ann, dice, WEEK)
        assert await subscriptions(api, ann) == [("manual", 2, "active", None, True, 7)]

    @pytest.mark.parametrize(
        "paid",
        [
            {},
            {"provider": "ios", "tier": 3},
            {"provider": "android", "status": "trialing", "days": 2},
            {"status": "past_due", "days": -3},
            {"days": -1},  # its renewal was not notification yet
            {"provider": "manual", "days": 100},  # given by hand
        ],
    )
    async def test_subscriber_gets_xp_instead_of_days(
        self, api: ApiServer, ann: ApiUser, dice: Dice, paid: dict[str, Any]
    ):
        await subscribe(api, ann, **paid)
        before = await subscriptions(api, ann)
        week = await won(api, ann, dice, WEEK)
        month = await won(api, ann, dice, MONTH)
        assert [(box["reward_type"], box["reward_value"]) for box in (week, month)] == [
            ("xp", {"amount": 200}),
            ("xp", {"amount": 1000}),
        ]
        assert await api.xp(ann) == 1200
        assert await subscriptions(api, ann) == before

    async def test_ended_subscription_does_not_prevent_days(
        self, api: ApiServer, ann: ApiUser, dice: Dice
    ):
        await subscribe(api, ann, status="expired", days=-5)
        box = await won(api, ann, dice, WEEK)
        assert box["reward_type"] == "subscription"
        assert await tier(ann) == "regular"


async def test_new_tier_is_sent_to_sockets(database: Database, database_url: str):
    user_id, dice = await create_user(database_url), Dice()
    hub = Hub(5)
    socket = connected(hub, user_id)
    store = SubscriptionStore(database)
    boxes = MysteryBoxes(
        BoxStore(database),
        Gifts(SubscriptionLedger(database, store, hub, now)),
        Quotas(database),
        Xp(XpStore()),
        dice,
    )
    caller = Identity(user_id=user_id, claims={"sub": str(user_id)})
    for rolls in (TEN_XP, XP_1000, WEEK):
        async with database.transaction() as tx:
            await tx.execute(
                "insert into ingredient_scans (user_id, detected_ingredients, created_at)"
                " values (%(id)s, '[]', now() + interval '1 minute')",
                id=user_id,
            )
        dice.will_be(rolls)
        assert await boxes.open(caller) is not None
    assert socket.received == [("subscription_updated", {"tier": "regular", "status": "active"})]


class TestStatistics:
    async def test_statistics_without_boxes_are_zero(self, fresh_database_url: str, tmp_path: Path):
        async with open_api_server(fresh_database_url, tmp_path) as api:
            response = await (await api.person()).get("/mystery-box/stats")
        none = {"count": 0, "percentage": "0.0"}
        assert response.json() == {
            "total_boxes": 0,
            "rarity_distribution": {
                "common": none, "uncommon": none, "rare": none, "legendary": none,
            },
            "reward_type_distribution": {},
            "odds": ODDS,
        }  # fmt: skip

    async def test_statistics_cover_the_newest_thousand_boxes_of_all_users(
        self, fresh_database_url: str, tmp_path: Path
    ):
        async with open_api_server(fresh_database_url, tmp_path) as api:
            ann, bob = await api.person("Ann"), await api.person("Bob")
            for person, rarity, kind, number, days in (
                (ann, "legendary", "badge", 5, 30),
                (ann, "common", "xp", 801, 2),
                (bob, "rare", "subscription", 199, 1),
            ):
                await api.sql(
                    "insert into mystery_boxes"
                    " (user_id, rarity, reward_type, reward_value, opened_at)"
                    " select %(id)s, %(rarity)s, %(kind)s, '{}',"
                    " now() - make_interval(days => %(days)s)"
                    " from generate_series(1, %(number)s)",
                    id=person.id, rarity=rarity, kind=kind, number=number, days=days,
                )  # fmt: skip
            assert (await bob.get("/mysteryBox/stats")).json() == {
                "total_boxes": 1000,
                "rarity_distribution": {
                    "common": {"count": 801, "percentage": "80.1"},
                    "uncommon": {"count": 0, "percentage": "0.0"},
                    "rare": {"count": 199, "percentage": "19.9"},
                    "legendary": {"count": 0, "percentage": "0.0"},
                },
                "reward_type_distribution": {"xp": 801, "subscription": 199},
                "odds": ODDS,
            }


async def test_history_is_newest_first_and_limited(api: ApiServer, ann: ApiUser):
    await api.sql(
        "insert into mystery_boxes (user_id, rarity, reward_type, reward_value, opened_at)"
        " select %(id)s, 'common', 'xp', jsonb_build_object('amount', n),"
        " now() - make_interval(hours => n) from generate_series(1, 25) as n",
        id=ann.id,
    )

    async def amounts(query: str) -> list[int]:
        response = await ann.get(f"/mysteryBox/history/{ann.id}{query}")
        assert response.json()["total_boxes_opened"] == len(response.json()["history"])
        return [row["reward_value"]["amount"] for row in response.json()["history"]]

    assert await amounts("") == list(range(1, 21))
    assert await amounts("?limit=2") == [1, 2]
    assert await amounts("?limit=100") == list(range(1, 26))
    for bad in ("0", "101", "many"):
        response = await ann.get(f"/mysteryBox/history?limit={bad}")
        refused(response, 400, "Invalid limit parameter (1-100)")
