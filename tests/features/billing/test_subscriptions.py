"""What users have and what it allows, over HTTP and in other features; what they receive of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import trio
from attrs import frozen

from cookcam.config import loading
from cookcam.database import SERVICE, Database
from cookcam.errors import DatabaseError, ServiceUnavailable
from cookcam.features.billing.errors import LimitReached
from cookcam.features.billing.tiers.guards import Gates
from cookcam.features.billing.tiers.models import (
    CREATOR,
    PRODUCTS,
    REGULAR,
    Metric,
    Status,
    Tier,
    entitles,
    product_of,
    tier_slug,
)
from cookcam.features.billing.tiers.quotas import Quotas
from cookcam.features.billing.tiers.service import LIFETIME, Catalogue
from cookcam.features.billing.tiers.store import SubscriptionStore
from cookcam.http import Routes
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in
from tests.features.conftest import ApiUser, Client, Server
from tests.identity.project import open_project
from tests.support.app import open_app
from tests.support.live_clients import open_live_server
from tests.support.users import create_user, person
from tests.support.whole_server import environment

NOW = datetime.now(UTC)
DAY = timedelta(days=1)

SUBSCRIBE = """
    insert into user_subscriptions (
      user_id, tier_id, status, current_period_start, current_period_end, provider,
      provider_subscription_id, cancel_at_period_end, provider_customer_id
    )
    values (%(user)s, %(tier)s, %(status)s, %(end)s - interval '30 days', %(end)s, %(provider)s,
      %(ref)s, %(cancels)s, 'cus_0123456789abcd')
"""


@frozen
class Failing:
    """A store that fails while `error` is set; otherwise the real one."""

    real: SubscriptionStore
    errors: list[Exception]

    def __getattr__(self, name: str) -> Any:
        async def read(*args: Any) -> Any:
            if self.errors:
                raise self.errors[0]
            return await getattr(self.real, name)(*args)

        return read


@frozen
class Shop(Server):
    """The app with the subscription routes, and `/gated/...` behind each of the gates."""

    store: Failing

    async def subscribe(
        self,
        who: ApiUser | UUID,
        status: Status = "active",
        *,
        tier: int = REGULAR,
        end: datetime = NOW + 30 * DAY,
        **given: Any,
    ) -> None:
        user = who.id if isinstance(who, ApiUser) else who
        values = {"provider": "stripe", "ref": f"sub_{uuid4().hex}", "cancels": False} | given
        async with self.database.transaction() as tx:
            await tx.execute(SUBSCRIBE, user=user, status=status, tier=tier, end=end, **values)


def gated(gates: Gates) -> Routes:
    bp = Routes("gated", __name__)

    @bp.get("/gated/creator")
    @signed_in
    @gates.creator
    async def creator(caller: Identity) -> dict[str, Any]:
        return {"id": str(caller.user_id)}

    @bp.get("/gated/tier")
    @signed_in
    @gates.tier_required("creator")
    async def tier(caller: Identity) -> dict[str, Any]:
        return {"id": str(caller.user_id)}

    @bp.get("/gated/feature/<word>")
    @signed_in
    @gates.feature_required("export_pdf")
    async def feature(caller: Identity, word: str) -> dict[str, Any]:
        return {"id": str(caller.user_id), "word": word}

    return bp


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[Shop]:
    async with AsyncExitStack() as stack:
        gotrue = await stack.enter_async_context(open_project(database_url))
        settings = loading.load(environment(database_url, gotrue, REALTIME_BUS="local"))
        app = await stack.enter_async_context(
            open_app(
                settings,
                lambda built: {
                    "subscription_store": Failing(SubscriptionStore(built.database), [])
                },
                lambda built: [gated(Gates(built.entitlements))],
            )
        )
        container = app.container
        yield Shop(
            container,
            gotrue,
            container.clients.identity,
            container.database,
            database_url,
            container.recipes,
            app.http,
            container.limits,
            container.subscription_store,
        )


@pytest.fixture
async def ann(shop: Shop) -> ApiUser:
    return await shop.person("Ann")


class TestTiers:
    async def test_prices_are_in_dollars_and_the_cheapest_is_first(self, shop: Shop):
        response = await shop.guest.get("/subscription/tiers")
        body = response.json()
        assert (response.status_code, body["success"]) == (200, True)
        shown = [
            (t["id"], t["slug"], t["price_monthly"], t["price_yearly"], t["limits"])
            for t in body["tiers"]
        ]
        assert shown == [
            (1, "free", 0, 0, {"daily_scans": 5, "monthly_recipes": 10, "saved_recipes": 50}),
            (2, "regular", 3.99, 39.99, {"monthly_recipes": 500, "saved_recipes": 1000}),
            (3, "creator", 9.99, 99.99, {"saved_recipes": 5000}),
        ]
        assert [t["revenue_share_percentage"] for t in body["tiers"]] == [0, 0, 30]
        assert all(t["is_active"] and t["features"] and t["created_at"] for t in body["tiers"])
        assert "price_monthly_cents" not in body["tiers"][0]

    async def test_they_are_read_once_in_five_minutes(self, autojump_clock: Any):
        reads: list[str] = []

        class Counting:
            async def tiers(self) -> list[Any]:
                reads.append("tiers")
                return []

            async def features(self) -> list[Any]:
                reads.append("features")
                return []

        counting: Any = Counting()
        catalogue = Catalogue(counting)
        for pause in (0, LIFETIME - 1, 2, 1):
            await trio.sleep(pause)
            await catalogue.on_sale()
        assert reads == ["tiers", "features"] * 2

    async def test_that_they_cannot_be_read_is_a_500_and_not_kept(self, shop: Shop):
        shop.store.errors.append(DatabaseError())
        response = await shop.guest.get("/subscription/tiers")
        assert response.status_code == 500
        assert response.json()["error"] == "Failed to fetch subscription tiers"
        shop.store.errors.clear()
        assert (await shop.guest.get("/subscription/tiers")).status_code == 200


# status, what is left of the period, and the response to the app: tier_slug, status, trial
RECEIVED: list[tuple[Status | None, timedelta, str, str, bool]] = [
    (None, DAY, "free", "expired", False),
    ("active", DAY, "regular", "active", False),
    ("active", -DAY, "free", "expired", False),
    ("trialing", DAY, "regular", "trial", True),
    ("trialing", -DAY, "free", "expired", False),
    ("past_due", -6 * DAY, "regular", "active", False),
    ("past_due", -8 * DAY, "free", "expired", False),
    ("cancelled", DAY, "free", "expired", False),
    ("expired", -DAY, "free", "expired", False),
    ("incomplete", DAY, "free", "expired", False),
]


class TestStatus:
    @pytest.mark.parametrize(("status", "left", "slug", "received", "trial"), RECEIVED)
    async def test_what_the_app_receives(
        self,
        shop: Shop,
        ann: ApiUser,
        status: Any,
        left: Any,
        slug: str,
        received: str,
        trial: bool,
    ):
        if status:
            await shop.subscribe(ann, status, end=NOW + left)
        response = await ann.get("/subscription/status")
        body = response.json()
        assert response.status_code == 200
        assert (body["tier_slug"], body["status"]) == (slug, received)
        assert body["tier"]["slug"] == slug
        assert (body["trial_ends_at"] is not None) == trial
        entitled = slug != "free"
        assert (body["subscription"] is not None) == entitled
        assert (body["id"] is not None) == entitled
        assert (body["current_period_end"] is not None) == entitled
        assert body["cancel_at_period_end"] is False
        assert (body["isCreator"], body["revenue_share_enabled"]) == (False, False)
        assert len(response.content) < 2000
        # The rule in the database is the same.
        tier_id = await shop.database.fetch_value_as(
            SERVICE, "select user_tier_id(%(id)s)", id=ann.id
        )
        assert tier_id == body["tier"]["id"]
        if status:
            assert entitles(status, NOW + left, datetime.now(UTC)) == entitled

    @pytest.mark.parametrize("provider", ["ios", "android", "manual"])
    async def test_it_is_the_same_caller_provides(self, shop: Shop, ann: ApiUser, provider: str):
        cases = [(*received, False) for received in RECEIVED]
        cases.append(("active", DAY, "regular", "active", False, True))  # cancelled, with time left
        for status, left, slug, received, trial, cancels in cases:
            async with shop.database.transaction() as tx:
                await tx.execute("delete from user_subscriptions where user_id = %(u)s", u=ann.id)
            if status:
                given = {"provider": provider, "cancels": cancels, "ref": uuid4().hex * 5}
                await shop.subscribe(ann, status, end=NOW + left, **given)
            response = await ann.get("/subscription/status")
            body = response.json()
            seen = (body["tier_slug"], body["status"], body["cancel_at_period_end"])
            assert seen == (slug, received, cancels), (status, left)
            assert (body["trial_ends_at"] is not None) == trial
            assert len(response.content) < 2000

    async def test_a_creator_has_everything_and_it_fits(self, shop: Shop, ann: ApiUser):
        await shop.subscribe(ann, tier=CREATOR, provider="android", ref="x" * 160)
        response = await ann.get("/subscription/status")
        body = response.json()
        assert (body["tier_slug"], body["isCreator"], body["revenue_share_enabled"]) == (
            "creator", True, True,
        )  # fmt: skip
        assert body["features"] == [
            "affiliate_links", "api_access", "bulk_operations", "creator_dashboard",
            "direct_messaging", "export_pdf", "nutrition_tracking", "revenue_analytics",
            "unlimited_recipes",
        ]  # fmt: skip
        row = body["subscription"]
        assert row["id"] == body["id"]
        assert row["user_id"] == ann.id
        assert (row["tier_id"], row["status"], row["provider"]) == (3, "active", "android")
        assert row["provider_subscription_id"] == "x" * 160
        assert len(response.content) < 2000

    async def test_with_time_left_a_cancelled_one_is_active(self, shop: Shop, ann: ApiUser):
        await shop.subscribe(ann, cancels=True)
        body = (await ann.get("/subscription/status")).json()
        assert (body["status"], body["cancel_at_period_end"]) == ("active", True)

    async def test_what_was_paid_counts_at_once(self, shop: Shop, ann: ApiUser):
        assert (await ann.get("/subscription/status")).json()["tier_slug"] == "free"
        await shop.subscribe(ann)
        response = await ann.get("/subscription/status")
        assert response.json()["tier_slug"] == "regular"
        assert "etag" not in response.headers

    async def test_nobody_is_shown_free_because_of_an_error(self, shop: Shop, ann: ApiUser):
        for error, status in ((DatabaseError(), 500), (ServiceUnavailable(), 503)):
            shop.store.errors[:] = [error]
            response = await ann.get("/subscription/status")
            assert response.status_code == status
            if status == 500:
                assert response.json()["error"] == "Failed to get subscription status"

    async def test_it_is_for_the_signed_in(self, shop: Shop):
        for path in ("/subscription/status", "/subscription/feature/daily_scans"):
            response = await shop.guest.get(path)
            assert response.status_code == 401
            assert response.json()["error"] == "Authentication required"


class TestFeatures:
    async def test_the_names_the_app_asks_for(self, shop: Shop):
        names = [
            "unlimited_scans", "premium_recipes", "daily_scans", "ad_free_experience",
            "advanced_nutrition", "creator_tools", "analytics_dashboard", "export_pdf",
        ]  # fmt: skip
        seen: dict[int, list[bool]] = {}
        for tier in (1, 2, 3):
            who = await shop.person()
            if tier > 1:
                await shop.subscribe(who, tier=tier)
            responses = [await who.get(f"/subscription/feature/{name}") for name in names]
            seen[tier] = [response.json()["hasAccess"] for response in responses]
            assert all(response.json()["success"] for response in responses)
        assert seen == {
            1: [False, False, True, False, False, False, False, False],
            2: [True, True, True, True, True, False, False, True],
            3: [True, True, True, True, True, True, True, True],
        }

    async def test_usage_is_reported_while_there_is_a_limit(self, shop: Shop, ann: ApiUser):
        async with shop.database.transaction() as tx:
            for _ in range(5):
                await Quotas(shop.database).consume(tx, UUID(ann.id), "daily_scans")
        for name in ("daily_scans", "unlimited_scans"):
            body = (await ann.get(f"/subscription/feature/{name}")).json()
            assert body["hasAccess"] is False
            assert (body["usage"]["count"], body["usage"]["used"], body["usage"]["limit"]) == (
                5, 5, 5,
            )  # fmt: skip
            assert body["usage"]["reset_at"].endswith("T00:00:00.000Z")
        await shop.subscribe(ann)
        body = (await ann.get("/subscription/feature/daily_scans")).json()
        assert body == {"success": True, "hasAccess": True}

    async def test_an_unknown_one_is_not_there(self, ann: ApiUser):
        response = await ann.get("/subscription/feature/teleport")
        assert (response.status_code, response.json()["error"]) == (404, "Feature not found")


class TestProducts:
    async def test_what_stores_sell(self, shop: Shop):
        body = (await shop.guest.get("/subscription/products")).json()
        shown = {
            (p["platform"], p["productId"], p["tier_slug"], p["period"], p["price"])
            for p in body["products"]
        }
        assert shown == {
            ("ios", "com.cookcam.pro.monthly", "regular", "month", 3.99),
            ("ios", "com.cookcam.pro.yearly", "regular", "year", 39.99),
            ("ios", "com.cookcam.creator.monthly", "creator", "month", 9.99),
            ("ios", "com.cookcam.creator.yearly", "creator", "year", 99.99),
            ("android", "cookcam_pro_monthly", "regular", "month", 3.99),
            ("android", "cookcam_pro_yearly", "regular", "year", 39.99),
            ("android", "cookcam_creator_monthly", "creator", "month", 9.99),
            ("android", "cookcam_creator_yearly", "creator", "year", 99.99),
        }

    def test_a_product_is_known_by_its_exact_id(self):
        for product in PRODUCTS:
            assert product_of(product.platform, product.id) == product
        assert product_of("ios", "com.cookcam.creator.weekly") is None
        assert product_of("ios", "cookcam_pro_monthly") is None
        legacy = product_of("android", "com.cookcam.monthly")
        assert legacy is not None
        assert (legacy.tier_id, legacy.legacy) == (REGULAR, True)


class TestGates:
    async def test_who_is_rejected_and_in_which_words(self, shop: Shop, ann: ApiUser):
        rejections: dict[str, dict[str, Any]] = {
            "/gated/creator": {
                "error": "Creator access required",
                "message": "Upgrade to Creator tier to access this feature",
                "upgradeUrl": "/subscription/upgrade?tier=creator",
            },
            "/gated/tier": {
                "error": "Upgrade required",
                "message": "This feature requires a creator subscription or higher",
                "currentTier": "free",
                "requiredTier": "creator",
            },
            "/gated/feature/x": {
                "error": "Feature not available",
                "message": "Your subscription plan does not include this feature",
                "feature": "export_pdf",
                "upgradeUrl": "/subscription/upgrade",
            },
        }
        for path, words in rejections.items():
            response = await ann.get(path)
            assert response.status_code == 403
            assert words.items() <= response.json().items()
            assert (await shop.guest.get(path)).status_code == 401

    async def test_who_is_let_through(self, shop: Shop):
        regular, creator = await shop.person("Reg"), await shop.person("Cid")
        await shop.subscribe(regular)
        await shop.subscribe(creator, tier=CREATOR)
        statuses: dict[str, list[int]] = {}
        for path in ("/gated/creator", "/gated/tier", "/gated/feature/pie"):
            responses = [await who.get(path) for who in (regular, creator)]
            statuses[path] = [response.status_code for response in responses]
        assert statuses == {
            "/gated/creator": [403, 200],
            "/gated/tier": [403, 200],
            "/gated/feature/pie": [200, 200],
        }
        body = (await creator.get("/gated/feature/pie")).json()
        assert body == {"id": creator.id, "word": "pie"}

    async def test_that_it_could_not_be_checked_is_no_rejection(self, shop: Shop, ann: ApiUser):
        words = {
            "/gated/creator": "Failed to verify creator status",
            "/gated/tier": "Failed to verify subscription tier",
            "/gated/feature/x": "Failed to verify feature access",
        }
        for path, literal in words.items():
            shop.store.errors[:] = [DatabaseError()]
            response = await ann.get(path)
            assert (response.status_code, response.json()["error"]) == (500, literal)
            shop.store.errors[:] = [ServiceUnavailable()]
            assert (await ann.get(path)).status_code == 503


class TestQuotas:
    @pytest.fixture
    def quotas(self, database: Database) -> Quotas:
        return Quotas(database)

    @pytest.fixture
    async def user(self, database_url: str) -> UUID:
        return await create_user(database_url)

    async def take(self, quotas: Quotas, user: UUID, metric: Metric) -> None:
        """As a feature does: in the transaction of the caller, as the caller."""
        async with quotas.database.transaction_as(person(user)) as tx:
            await quotas.consume(tx, user, metric)

    @pytest.mark.parametrize(
        ("metric", "limit", "words"),
        [
            ("daily_scans", 5, "You have reached your scans limit for today"),
            ("monthly_recipes", 10, "You have reached your recipes limit for this month"),
        ],
    )
    async def test_a_free_user_reaches_the_limit(
        self, quotas: Quotas, user: UUID, metric: Metric, limit: int, words: str
    ):
        for used in range(limit):
            assert (await quotas.usage(user, metric)).used == used
            await self.take(quotas, user, metric)
        with pytest.raises(LimitReached) as rejected:
            await self.take(quotas, user, metric)
        assert (rejected.value.status, rejected.value.error) == (403, "Limit reached")
        assert rejected.value.message == words
        assert rejected.value.extra == {
            "limit": limit,
            "usage": limit,
            "upgradeUrl": "/subscription/upgrade",
        }
        usage = await quotas.usage(user, metric)
        assert (usage.used, usage.limit) == (limit, limit)

    async def test_of_many_at_once_as_many_pass_as_are_allowed(self, quotas: Quotas, user: UUID):
        outcomes: list[Any] = []

        async def run() -> None:
            try:
                await self.take(quotas, user, "daily_scans")
                outcomes.append(0)
            except LimitReached as rejected:
                outcomes.append(rejected.extra["usage"])

        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(run)
        assert sorted(outcomes) == [0] * 5 + [5] * 7

    async def test_what_is_undone_was_not_used(self, quotas: Quotas, user: UUID):
        async def undone() -> None:
            async with quotas.database.transaction_as(person(user)) as tx:
                await quotas.consume(tx, user, "daily_scans")
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await undone()
        assert (await quotas.usage(user, "daily_scans")).used == 0

    async def test_afterwards_the_transaction_is_the_callers_again(
        self, quotas: Quotas, user: UUID
    ):
        async with quotas.database.transaction_as(person(user)) as tx:
            await quotas.consume(tx, user, "daily_scans")
            assert await tx.fetch_value("select current_user::text") == "authenticated"

    async def test_another_period_counts_for_itself(self, quotas: Quotas, user: UUID):
        async with quotas.database.transaction() as tx:
            await tx.execute(
                "insert into usage_counters (user_id, metric, period_start, used) values"
                " (%(u)s, 'daily_scans', (now() at time zone 'UTC')::date - 1, 5),"
                " (%(u)s, 'monthly_recipes',"
                "  date_trunc('month', now() at time zone 'UTC')::date - 1, 10)",
                u=user,
            )
        scans, recipes = [
            await quotas.usage(user, metric) for metric in ("daily_scans", "monthly_recipes")
        ]
        assert (scans.used, recipes.used) == (0, 0)
        assert scans.resets_at is not None
        assert recipes.resets_at is not None
        now = datetime.now(UTC)
        assert timedelta(0) < scans.resets_at - now <= DAY
        assert (recipes.resets_at.day, recipes.resets_at.hour) == (1, 0)
        assert timedelta(0) < recipes.resets_at - now <= 31 * DAY

    async def test_without_a_limit_nothing_is_counted(self, quotas: Quotas, user: UUID, shop: Shop):
        await shop.subscribe(user)
        for _ in range(7):
            await self.take(quotas, user, "daily_scans")
        usage = await quotas.usage(user, "daily_scans")
        assert (usage.used, usage.limit, usage.exhausted) == (0, None, False)

    async def test_saved_recipes_are_those_there_are(self, quotas: Quotas, user: UUID):
        save = "insert into saved_recipes (user_id, recipe_id) values (%(u)s, %(r)s)"
        async with quotas.database.transaction() as tx:
            ids = [
                await tx.fetch_value(
                    "insert into recipes (title, is_published) values (%(t)s, true) returning id",
                    t=str(uuid4()),
                )
                for _ in range(52)
            ]
            for recipe in ids[:48]:
                await tx.execute(save, u=user, r=recipe)
        outcomes: list[bool] = []

        async def run(recipe: UUID) -> None:
            try:
                async with quotas.database.transaction() as tx:
                    await quotas.consume(tx, user, "saved_recipes")
                    await tx.execute(save, u=user, r=recipe)
                outcomes.append(True)
            except LimitReached:
                outcomes.append(False)

        async with trio.open_nursery() as nursery:
            for recipe in ids[48:]:
                nursery.start_soon(run, recipe)
        assert sorted(outcomes) == [False, False, True, True]
        usage = await quotas.usage(user, "saved_recipes")
        assert (usage.used, usage.limit, usage.resets_at) == (50, 50, None)


def test_premium_is_an_old_name_of_regular() -> None:
    assert [tier_slug(text) for text in ("premium", "regular", "creator", "gold")] == [
        "regular", "regular", "creator", None,
    ]  # fmt: skip


def test_minus_one_is_no_limit() -> None:
    tier = Tier(
        1,
        "free",
        "Free",
        0,
        0,
        "USD",
        [],
        {"daily_scans": -1, "saved_recipes": 0},
        0,
        True,
        NOW,
        NOW,
    )
    metrics: tuple[Metric, ...] = ("daily_scans", "saved_recipes", "monthly_recipes")
    assert [tier.limit(metric) for metric in metrics] == [None, 0, None]


async def test_the_whole_program_has_them_under_both_prefixes(database_url: str) -> None:
    async with open_live_server(database_url) as generation_app:
        for prefix in ("/api/v1", "/api"):
            url = f"{generation_app.server.url}{prefix}/subscription/tiers"
            assert len((await generation_app.server.http.get(url)).json()["tiers"]) == 3
        guest = Client(generation_app.server.http)
        assert (await guest.http.get("/subscription/status")).status_code == 401
