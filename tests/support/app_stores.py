"""The app with everything that purchases need, and both stores beside it, in one process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal
from uuid import UUID

import httpx
from attrs import evolve, frozen

from cookcam.app import app_store_settings
from cookcam.app.container import Container
from cookcam.config import loading
from cookcam.database import Database
from cookcam.features.billing.tiers.guards import Gates
from cookcam.http import Routes
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in
from cookcam.identity.keys import KeySet
from cookcam.integrations.app_store import AppStore
from cookcam.integrations.google_play import GooglePlay
from cookcam.integrations.provider_calls import ProviderCallPolicy
from cookcam.lifecycle.background import Bell
from cookcam.observability.metrics import Metrics
from cookcam.realtime.notifiers import NullNotifier
from cookcam.sandbox.app_store import Authority, FakeAppStore, open_apple
from cookcam.sandbox.app_store import Purchase as Apple
from cookcam.sandbox.google_play import FakeGooglePlay, Keys, open_google_play
from cookcam.sandbox.google_play import Purchase as Google
from cookcam.sandbox.gotrue import Gotrue
from tests.features.conftest import ApiUser, AppUnderTest, Client, Response
from tests.identity.project import open_project
from tests.support.app import open_app
from tests.support.whole_server import environment

QUICK = ProviderCallPolicy(initial_delay=0.01, attempt_timeout=1.0, deadline=3.0)
"""The policy without its waits."""

RECEIPT_KEY = "a key that encrypts receipts in tests"
WEBHOOKS = "http://cookcam.test/api/v1/subscription/webhook"


class RecordingNotifier(NullNotifier):
    """Records the events that were sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[UUID, str, Any]] = []

    def send_to_user(self, user_id: UUID, event: str, data: object, **_: Any) -> int:
        self.sent.append((user_id, event, data))
        return 0


class RecordingBell(Bell):
    """Records that it was rung."""

    def __init__(self) -> None:
        super().__init__()
        self.rung: list[str] = []

    def ring(self) -> None:
        self.rung.append("superseded")


@frozen
class StoresApp(AppUnderTest):
    """`apple` and `google` notify the app while their `endpoint` is set; it is from the start."""

    http: httpx.AsyncClient
    gotrue: Gotrue
    apple: FakeAppStore
    google: FakeGooglePlay
    container: Container
    notifier: RecordingNotifier
    metrics: Metrics
    rung: list[str]
    database: Database
    database_url: str

    def silence(self) -> None:
        """The stores say nothing by themselves."""
        self.apple.endpoint = self.google.endpoint = None

    def impatient(self, **bounds: float) -> None:
        """How long we wait for the stores from now on; without `bounds` as before."""
        calls = evolve(QUICK, **bounds)
        self.container.purchases.app_store.calls = self.container.purchases.google_play.calls = (
            calls
        )

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
async def open_stores_app(
    database_url: str,
    authority: Authority,
    keys: Keys,
    *,
    calls: ProviderCallPolicy = QUICK,
    **environ: str | None,
) -> AsyncIterator[StoresApp]:
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
            "REALTIME_BUS": "local",
            **environ,
        }
        given = {name: value for name, value in wanted.items() if value is not None}
        settings = loading.load(environment(database_url, gotrue, **given))
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
        notifier, bell = RecordingNotifier(), RecordingBell()
        app = await stack.enter_async_context(
            open_app(
                settings,
                lambda container: {
                    "clients": evolve(
                        container.clients,
                        app_store=app_store,
                        google_play=play,
                        push_keys=push_keys,
                    ),
                    "notifier": notifier,
                    "superseded_bell": bell,
                },
                lambda container: [gated(Gates(container.entitlements))],
            )
        )
        http, container = app.http, app.container
        apple.endpoint, apple.http = f"{WEBHOOKS}/apple", http
        google.endpoint, google.http = f"{WEBHOOKS}/google", http
        yield StoresApp(
            http,
            gotrue,
            apple,
            google,
            container,
            notifier,
            container.metrics,
            bell.rung,
            container.database,
            database_url,
        )
