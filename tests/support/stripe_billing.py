"""The app with payments, a fake Stripe behind it, and events delivered one by one by the test.

The fake has its own clock, which `advance` moves. What the app says at that time is seen
by `today`: it moves the periods of all subscriptions back by as much, looks, and restores them.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import orjson
from attrs import define, evolve, field, frozen
from structlog.testing import capture_logs

from cookcam.app.container import Container
from cookcam.config import loading
from cookcam.config.readers import Secret
from cookcam.database import Database, Transaction
from cookcam.features.billing.commissions import MoneyBack, Receipt
from cookcam.features.billing.ledger.ledger import SubscriptionLedger
from cookcam.features.billing.tiers.guards import Gates
from cookcam.features.billing.tiers.models import Subscription
from cookcam.features.messaging.notifications.messages import Notification
from cookcam.integrations.retry import RetryPolicy
from cookcam.integrations.stripe import Stripe
from cookcam.integrations.stripe.events import Event
from cookcam.sandbox.stripe import FakeStripe, open_stripe
from cookcam.sandbox.stripe.outbox import signature
from tests.features.conftest import ApiUser, AppUnderTest, Response
from tests.identity.project import open_project
from tests.support.app import open_app
from tests.support.app_stores import gated
from tests.support.whole_server import environment

SECRET, CONNECT_SECRET = "whsec_ours", "whsec_connect"
WEBHOOK, CONNECT_WEBHOOK = "/subscription/webhook/stripe", "/subscription/webhook/stripe-connect"
HOME = "https://cookcam.ai"
BACK = {"successUrl": f"{HOME}/thanks", "cancelUrl": "cookcam://plans"}


@define
class Notes:
    """What was sent to whom: commissions, sockets, the observer of events."""

    receipts: list[Receipt] = field(factory=list)
    converted: list[UUID] = field(factory=list)
    back: list[MoneyBack] = field(factory=list)
    ended: list[UUID] = field(factory=list)
    attributed: list[tuple[UUID, str]] = field(factory=list)
    sent: list[tuple[UUID, str, Any]] = field(factory=list)
    done: list[tuple[str, str]] = field(factory=list)
    given_up: list[str] = field(factory=list)
    connect: list[tuple[str, str | None]] = field(factory=list)
    reversed: list[tuple[str, str]] = field(factory=list)
    reported: list[Exception] = field(factory=list)
    failures: list[Exception] = field(factory=list)
    """Raised by the next handlers of connected accounts."""

    async def attribute(self, user_id: UUID, code: str) -> None:
        self.attributed.append((user_id, code))

    async def on_first_paid(self, tx: Transaction, subscription: Subscription) -> None:
        self.converted.append(subscription.id)

    async def on_invoice_paid(self, tx: Transaction, receipt: Receipt) -> None:
        self.converted.append(receipt.subscription.id)
        self.receipts.append(receipt)

    async def on_refund(self, tx: Transaction, back: MoneyBack) -> None:
        self.back.append(back)

    async def on_ended(self, tx: Transaction, ended: Sequence[Subscription]) -> None:
        self.ended += [row.id for row in ended]

    def send_to_user(self, user_id: UUID, event: str, data: Any) -> int:
        self.sent.append((user_id, event, data))
        return 1

    def event_done(self, event_type: str, outcome: str, seconds: float) -> None:
        self.done.append((event_type, outcome))

    def event_given_up(self, event_type: str, error: Exception) -> None:
        self.given_up.append(event_type)

    def charge_reversed(self, provider: str, reason: str, outcome: str) -> None:
        self.reversed.append((reason, outcome))

    def closed_account_charged(self, error: Exception) -> None:
        self.reported.append(error)

    @property
    def account_types(self) -> Collection[str]:
        return ("account.updated", "payout.paid")

    @property
    def platform_types(self) -> Collection[str]:
        return ("transfer.created",)

    async def read(self, event: Event) -> None:
        if self.failures:
            raise self.failures.pop(0)

    async def apply(self, tx: Transaction, event: Event, reading: None) -> list[Notification]:
        self.connect.append((event.type, event.account))
        return []


@frozen
class BillingApp(AppUnderTest):
    http: httpx.AsyncClient
    gotrue: Any
    database: Database
    database_url: str
    stripe: FakeStripe
    container: Container
    ledger: SubscriptionLedger
    notes: Notes
    logs: list[Any]
    delivered: set[str] = field(factory=set)

    async def notifications(self, person: ApiUser) -> list[str]:
        """The types of the person's notifications, the oldest first."""
        rows = await self.sql(
            "select type from notification_logs where user_id = %(id)s order by created_at",
            id=person.id,
        )
        return [row[0] for row in rows]

    # Events

    def new(self, *types: str) -> list[dict[str, Any]]:
        """Events that were not delivered yet, of these types or of all."""
        return [
            event
            for event in self.stripe.events
            if event["id"] not in self.delivered and (not types or event["type"] in types)
        ]

    async def deliver(
        self, event: Mapping[str, Any], *, path: str = WEBHOOK, secret: str = SECRET
    ) -> Response:
        self.delivered.add(event["id"])
        body = orjson.dumps(event, option=orjson.OPT_INDENT_2)
        signed = signature(body, [secret], int(time.time()))
        return await self.http.post(
            f"/api/v1{path}", content=body, headers={"Stripe-Signature": signed}
        )

    async def deliver_all(self) -> None:
        """Every new event once, in the order in which they happened; all of them are done."""
        for event in self.new():
            connect = event.get("account") is not None
            path, secret = (CONNECT_WEBHOOK, CONNECT_SECRET) if connect else (WEBHOOK, SECRET)
            response = await self.deliver(event, path=path, secret=secret)
            assert response.status_code == 200, (event["type"], response.text)
            assert response.json()["processed"], response.text

    # People

    async def begin(self, who: ApiUser, tier: int = 2, **more: Any) -> dict[str, Any]:
        """A checkout; its session."""
        response = await who.post("/subscription/create-checkout", {"tierId": tier, **BACK, **more})
        assert response.status_code == 200, response.text
        assert response.json()["success"] is True
        session = self.stripe.objects("checkout.session")[-1]
        assert response.json()["checkoutUrl"] == session["url"]
        return session

    async def buy(self, who: ApiUser, tier: int = 2, **more: Any) -> str:
        """Ann pays, and all events arrive; the id of the subscription."""
        session = await self.begin(who, tier, **more)
        paid = self.stripe.pay(session["id"])
        await self.deliver_all()
        return paid["subscription"]

    async def status(self, who: ApiUser) -> dict[str, Any]:
        response = await who.get("/subscription/status")
        assert response.status_code == 200, response.text
        return response.json()

    @asynccontextmanager
    async def today(self) -> AsyncGenerator[None]:
        """Sets the time to the fake's during the block."""
        move = """update user_subscriptions set
            current_period_start = current_period_start - make_interval(secs => %(s)s),
            current_period_end = current_period_end - make_interval(secs => %(s)s)"""
        ahead = self.stripe.now - int(time.time())
        await self.sql(move, s=ahead)
        try:
            yield
        finally:
            await self.sql(move, s=-ahead)

    async def has(self, who: ApiUser) -> str:
        """The user's tier at the fake's time; status, gates and features must agree on it."""
        async with self.today():
            status = await self.status(who)
            tier = status["tier_slug"]
            gate = {
                slug: (await who.get(f"/gated/{slug}")).status_code
                for slug in ("regular", "creator")
            }
            pdf = (await who.get("/subscription/feature/export_pdf")).json()["hasAccess"]
            assert status["tier"]["slug"] == tier
            assert status["isCreator"] == (tier == "creator")
            assert pdf == (tier != "free")
            assert gate == {
                "regular": 200 if tier != "free" else 403,
                "creator": 200 if tier == "creator" else 403,
            }
            assert (status["status"] == "expired") == (tier == "free")
        return tier

    async def row(self, subscription_id: str) -> Subscription:
        row = await self.ledger.find("stripe", subscription_id)
        assert row is not None
        return row

    async def history(self, subscription_id: str) -> list[str]:
        rows = await self.sql(
            """select h.action from subscription_history h
            join user_subscriptions s on s.id = h.subscription_id
            where s.provider_subscription_id = %(id)s order by h.created_at, h.id""",
            id=subscription_id,
        )
        return [row[0] for row in rows]

    async def stored(self, event_id: str) -> dict[str, Any] | None:
        rows = await self.sql(
            """select status, attempts, error_message, payload is not null,
              extract(epoch from next_attempt_at - now())
            from stripe_webhook_events where event_id = %(id)s""",
            id=event_id,
        )
        names = ("status", "attempts", "error", "payload", "wait")
        return dict(zip(names, rows[0], strict=True)) if rows else None

    async def wait(self, minutes: float) -> None:
        """Time passes for the inbox."""
        await self.sql(
            """update stripe_webhook_events set
              claimed_at = claimed_at - make_interval(secs => %(s)s),
              next_attempt_at = next_attempt_at - make_interval(secs => %(s)s)
            where status <> 'processed'""",
            s=minutes * 60,
        )

    async def sweep(self) -> int:
        assert self.container.stripe_inbox is not None
        return await self.container.stripe_inbox.sweep()


@asynccontextmanager
async def open_billing_app(
    database_url: str,
    *,
    configured: bool = True,
    secrets: Sequence[str] = (SECRET,),
    connect_secrets: Sequence[str] = (CONNECT_SECRET,),
    **environ: str,
) -> AsyncIterator[BillingApp]:
    async with AsyncExitStack() as stack:
        gotrue = await stack.enter_async_context(open_project(database_url))
        environ = {"REALTIME_BUS": "local", **environ}
        settings = loading.load(environment(database_url, gotrue, **environ))
        providers: Any = evolve(
            settings.providers,
            stripe_webhook_secrets=tuple(map(Secret, secrets)),
            stripe_connect_webhook_secrets=tuple(map(Secret, connect_secrets)),
        )
        settings = evolve(settings, providers=providers)
        fake = await stack.enter_async_context(open_stripe())
        client = await stack.enter_async_context(
            Stripe.open(
                secret_key=Secret(fake.key),
                api_base=fake.url,
                policy=RetryPolicy(deadline=2.0, attempts=2, initial_delay=0.0),
            )
        )
        notes = Notes()
        app = await stack.enter_async_context(
            open_app(
                settings,
                lambda container: {
                    "clients": evolve(container.clients, stripe=client if configured else None),
                    "notifier": notes,
                    "commissions": notes,
                    "connect_events": notes,
                    "webhook_reports": notes,
                },
                lambda container: [gated(Gates(container.entitlements))],
            )
        )
        logs = stack.enter_context(capture_logs())
        container = app.container
        billing = BillingApp(
            app.http,
            gotrue,
            container.database,
            database_url,
            fake,
            container,
            container.ledger,
            notes,
            logs,
        )
        await billing.sql("delete from stripe_webhook_events")  # of the tests before
        yield billing
