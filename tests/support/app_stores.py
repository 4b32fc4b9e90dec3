"""The app with everything that purchases need, and both stores beside it, in one process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

import httpx
from attrs import evolve, frozen
from psycopg import sql

from cookcam.app import app_store_settings
from cookcam.config import loading
from cookcam.database import Database
from cookcam.database.connection import Connection
from cookcam.features.accounts.referrals.service import Referrals
from cookcam.features.accounts.referrals.store import ReferralStore
from cookcam.features.billing.app_stores import routes as purchase_routes
from cookcam.features.billing.app_stores.opening import AppStores
from cookcam.features.billing.ledger.entitlements import Entitlements
from cookcam.features.billing.ledger.ledger import SubscriptionLedger
from cookcam.features.billing.tiers import routes as subscription_routes
from cookcam.features.billing.tiers.catalogue import Catalogue
from cookcam.features.billing.tiers.features import Features
from cookcam.features.billing.tiers.guards import Gates
from cookcam.features.billing.tiers.quotas import Quotas
from cookcam.features.billing.tiers.store import SubscriptionStore
from cookcam.features.creators.commissions.service import CreatorCommissions
from cookcam.features.creators.commissions.store import AttributionStore
from cookcam.http import Routes
from cookcam.http.app import create_app
from cookcam.http.edge import Edge
from cookcam.http.rate_limit import RateLimits
from cookcam.identity import Authenticator, Identity
from cookcam.identity.guards import signed_in
from cookcam.identity.keys import KeySet
from cookcam.integrations.app_store import AppStore
from cookcam.integrations.google_play import GooglePlay, PushTokens
from cookcam.integrations.provider_calls import ProviderCallPolicy
from cookcam.observability.metrics import Metrics
from cookcam.realtime.hub import Hub
from cookcam.sandbox.app_store import Authority, FakeAppStore, open_apple
from cookcam.sandbox.app_store import Bought as Apple
from cookcam.sandbox.google_play import Bought as Google
from cookcam.sandbox.google_play import FakeGooglePlay, Keys, open_google_play
from cookcam.sandbox.gotrue import Gotrue
from tests.features.conftest import ApiUser, Client, Response
from tests.identity.project import new_user, open_client, open_project
from tests.support.postgres import as_owner
from tests.support.profiles import profiles_of
from tests.support.whole_server import environment

QUICK = ProviderCallPolicy(initial_delay=0.01, attempt_timeout=1.0, deadline=3.0)
"""The policy without its waits."""

RECEIPT_KEY = "a key that encrypts receipts in tests"
WEBHOOKS = "http://cookcam.test/api/v1/subscription/webhook"


class Told(Hub):
    """A hub that remembers what was sent."""

    def __init__(self) -> None:
        super().__init__(8)
        self.sent: list[tuple[UUID, str, Any]] = []

    def send_to_user(self, user_id: UUID, event: str, data: object, **_: Any) -> int:
        self.sent.append((user_id, event, data))
        return 0


@frozen
class Mall:
    """`apple` and `google` notify the app while their `endpoint` is set; it is from the start."""

    http: httpx.AsyncClient
    gotrue: Gotrue
    apple: FakeAppStore
    google: FakeGooglePlay
    stores: AppStores
    hub: Told
    metrics: Metrics
    rung: list[str]
    database: Database
    database_url: str

    async def person(self, name: str = "Ann") -> ApiUser:
        user = await new_user(self.gotrue, name)
        return ApiUser(self.http, self.gotrue.issue_token(user), user)

    def silence(self) -> None:
        """The stores say nothing by themselves."""
        self.apple.endpoint = self.google.endpoint = None

    def impatient(self, **bounds: float) -> None:
        """How long we wait for the stores from now on; without `bounds` as before."""
        calls = evolve(QUICK, **bounds)
        self.stores.purchases.app_store.calls = self.stores.purchases.google_play.calls = calls

    async def sql(self, statement: str, **params: Any) -> list[Any]:
        url = as_owner(self.database_url)
        async with await Connection.connect(url, autocommit=True) as connection:
            cursor = await connection.execute(sql.SQL(statement), params)
            return await cursor.fetchall() if cursor.description else []

    async def history(self, who: ApiUser) -> list[tuple[str, str | None]]:
        """Status and reason of each validation, oldest first."""
        return await self.sql(
            "select status, validation_response ->> 'reason' from iap_validation_history"
            " where user_id = %(id)s order by validated_at",
            id=who.id,
        )

    async def rows(self, who: ApiUser) -> list[tuple[str, str, int]]:
        return await self.sql(
            "select provider, coalesce(superseded_status, status), tier_id"
            " from user_subscriptions where user_id = %(id)s order by created_at",
            id=who.id,
        )

    async def deeds(self, who: ApiUser) -> list[str]:
        """The history of the subscriptions."""
        found = await self.sql(
            "select action from subscription_history where user_id = %(id)s order by created_at",
            id=who.id,
        )
        return [row[0] for row in found]


async def show(who: Client, bought: Apple | Google, **changes: Any) -> Response:
    """The purchase as the app sends it."""
    if isinstance(bought, Apple):
        body = {"platform": "ios", "productId": bought.newest.product_id, "receipt": bought.receipt}
    else:
        token = bought.token
        body = {"platform": "android", "productId": bought.product_id, "purchaseToken": token}
    return await who.post("/iap/validate-receipt", body | changes)


Tier = Literal["free", "regular", "creator"]


async def assert_has(who: ApiUser, tier: Tier, *, ends: bool | None = None) -> dict[str, Any]:
    """What the app reads of the status, and what the gates of both tiers let through, agree."""
    body = (await who.get("/subscription/status")).json()
    assert (body["success"], body["tier_slug"]) == (True, tier)
    assert body["status"] == ("expired" if tier == "free" else body["status"])
    assert (body["status"] in ("active", "trial")) is (tier != "free")
    if ends is not None:
        assert body["cancel_at_period_end"] is ends
    regular = await who.get("/gated/regular")
    creator = await who.get("/gated/creator")
    export = (await who.get("/subscription/feature/export_pdf")).json()
    assert regular.status_code == (403 if tier == "free" else 200)
    assert creator.status_code == (200 if tier == "creator" else 403)
    assert export["hasAccess"] is (tier != "free")
    return body


def gated(gates: Gates) -> Routes:
    bp = Routes("gated", __name__)

    @bp.get("/gated/regular")
    @signed_in
    @gates.tier_required("regular")
    async def regular(caller: Identity) -> dict[str, Any]:
        return {}

    @bp.get("/gated/creator")
    @signed_in
    @gates.creator
    async def creator(caller: Identity) -> dict[str, Any]:
        return {}

    return bp


@asynccontextmanager
async def open_mall(
    database_url: str,
    authority: Authority,
    keys: Keys,
    *,
    calls: ProviderCallPolicy = QUICK,
    **environ: str | None,
) -> AsyncIterator[Mall]:
    """`environ` are settings; None takes one away."""
    async with AsyncExitStack() as stack:
        gotrue = await stack.enter_async_context(open_project(database_url))
        apple = await stack.enter_async_context(open_apple(authority=authority))
        google = await stack.enter_async_context(open_google_play(keys=keys))
        wanted: dict[str, str | None] = {
            **apple.bindings,
            "APPLE_API_PRIVATE_KEY": apple.private_key,
            **google.bindings,
            "GOOGLE_SERVICE_ACCOUNT_KEY": google.service_account,
            "IAP_RECEIPT_KEY": RECEIPT_KEY,
            **environ,
        }
        given = {name: value for name, value in wanted.items() if value is not None}
        settings = loading.load(environment(database_url, gotrue, **given))
        database = await stack.enter_async_context(Database.open(settings.database))
        provider = await stack.enter_async_context(open_client(gotrue))
        authenticator = await stack.enter_async_context(
            Authenticator.open(
                provider,
                supabase_url=settings.identity.supabase_url,
                jwt_secret=settings.identity.jwt_secret,
            )
        )
        roots: Any = {"roots": [authority.root]}
        app_store = await stack.enter_async_context(
            AppStore.open(evolve(app_store_settings(settings), **roots), calls)
        )
        play = await stack.enter_async_context(
            GooglePlay.open(
                api_url=settings.stores.google_api_url,
                certs_url=settings.stores.google_certs_url,
                package=settings.providers.google_play_package_name,
                key=settings.providers.google_service_account_key,
                calls=calls,
            )
        )
        push_keys = await stack.enter_async_context(KeySet.open(play.push_keys))
        hub, metrics, rung = Told(), Metrics(), list[str]()
        subscriptions = SubscriptionStore(database)
        catalogue = Catalogue(subscriptions)

        def now() -> datetime:
            return datetime.now(UTC)

        entitlements = Entitlements(subscriptions, catalogue, now)
        referrals = Referrals(ReferralStore(database), profiles_of(database), now)
        stores = AppStores.of(
            SubscriptionLedger(database, subscriptions, hub, now),
            catalogue,
            app_store,
            play,
            PushTokens(
                push_keys.find,
                settings.stores.google_push_audience,
                settings.stores.google_push_account,
            ),
            now,
            commissions=CreatorCommissions(AttributionStore(database), referrals),
            fees={
                "ios": settings.stores.apple_fee_percent,
                "android": settings.stores.google_play_fee_percent,
            },
            superseded=lambda: rung.append("superseded"),
            metrics=metrics,
            receipt_key=settings.stores.receipt_key,
            allow_sandbox=settings.stores.allow_sandbox,
        )
        limits = RateLimits.of(settings.limits)
        app = create_app(
            settings,
            [
                subscription_routes.routes(
                    catalogue, entitlements, Features(catalogue, entitlements, Quotas(database))
                ),
                *purchase_routes.routes(stores.purchases, stores.inbox),
                gated(Gates(entitlements)),
            ],
            authenticator=authenticator,
            limits=limits,
        )
        http = await stack.enter_async_context(
            httpx.AsyncClient(
                transport=httpx.ASGITransport(Edge(app, settings, limits=limits)),
                base_url="http://cookcam.test",
                timeout=30,
            )
        )
        apple.endpoint, apple.http = f"{WEBHOOKS}/apple", http
        google.endpoint, google.http = f"{WEBHOOKS}/google", http
        yield Mall(http, gotrue, apple, google, stores, hub, metrics, rung, database, database_url)
