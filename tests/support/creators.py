"""The program with creators, as assembly opens it, and a fake Stripe.

The test delivers the fake's signed events to the webhooks of the app.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import orjson
from attrs import field, frozen
from structlog.testing import capture_logs

from cookcam.app import open_services
from cookcam.config import Config, loading
from cookcam.config.readers import Secret
from cookcam.database import Database
from cookcam.features.creators.payouts.service import Payouts
from cookcam.features.creators.payouts.store import PayoutStore
from cookcam.integrations.retry import RetryPolicy
from cookcam.integrations.stripe import Stripe
from cookcam.lifecycle.state import Lifecycle
from cookcam.sandbox.stripe import FakeStripe, open_stripe, signature
from tests.features.conftest import ApiUser, AppUnderTest, Response
from tests.identity.project import open_project
from tests.support.whole_server import environment

SECRET, CONNECT_SECRET = "whsec_ours", "whsec_connect"
SITE = "https://cookcam.ai"
API = "https://api.cookcam.ai"
CREATOR, STRIPE = "/subscription/creator", "/subscription/creator/stripe"
TRACK = "/subscription/affiliate/track/"
NOW = RetryPolicy(deadline=2.0, attempts=1, initial_delay=0.0)


@frozen
class CreatorsServer(AppUnderTest):
    http: httpx.AsyncClient
    gotrue: Any
    database_url: str
    settings: Config
    stripe: FakeStripe
    client: Stripe
    database: Database
    delivered: set[str] = field(factory=set)

    async def creator(self, *, account: str | None = None) -> ApiUser:
        """A user with the creator tier; `account` is the outcome of Stripe onboarding, if any."""
        cid = await self.person("Cid")
        await self.sql(
            """insert into user_subscriptions (user_id, tier_id, status, current_period_start,
              current_period_end, provider)
            values (%(id)s, 3, 'active', now(), now() + interval '1 month', 'manual')""",
            id=cid.id,
        )
        await self.sql("update users set is_creator = true where id = %(id)s", id=cid.id)
        if account is not None:
            opened = await cid.post(f"{STRIPE}/onboard", {"country": "US"})
            assert opened.status_code == 200, opened.text
            outcome: Any = account
            self.stripe.onboard(opened.json()["accountId"], outcome)
            await self.deliver_all()
        return cid

    async def recipe(self, author: ApiUser, *, published: bool = True) -> str:
        rows = await self.sql(
            """insert into recipes (title, created_by, is_published)
            values (%(title)s, %(author)s, %(published)s) returning id""",
            title=f"Soup {uuid4().hex}",
            author=author.id,
            published=published,
        )
        return str(rows[0][0])

    async def earn(self, creator: ApiUser, cents: int, *, days_ago: float = 10) -> None:
        """Books a commission `days_ago`."""
        at = datetime.now(UTC) - timedelta(days=days_ago)
        await self.sql(
            """insert into creator_ledger (
              creator_id, kind, amount_cents, source_ref, occurred_at, available_at
            )
            values (
              %(id)s, 'commission', %(cents)s, %(ref)s, %(at)s, %(at)s + interval '7 days'
            )""",
            id=creator.id,
            cents=cents,
            ref=f"stripe:in_{uuid4().hex}",
            at=at,
        )

    async def tip(self, tipper: ApiUser, recipe: str, amount: float, **more: Any) -> dict[str, Any]:
        """Starts a tip; returns its uncompleted Stripe payment."""
        response = await tipper.post(
            f"/subscription/recipe/{recipe}/tip", {"amount": amount, **more}
        )
        assert response.status_code == 200, response.text
        rows = await self.sql(
            "select stripe_payment_intent_id from creator_tips where id = %(id)s",
            id=response.json()["tipId"],
        )
        return self.stripe.get("payment_intent", rows[0][0])

    async def payout(self, creator: ApiUser, amount: float, **headers: str) -> Response:
        return await creator.post(
            f"{CREATOR}/payout", {"amount": amount, "method": "stripe"}, headers=headers
        )

    async def balance(self, creator: ApiUser) -> dict[str, Any]:
        response = await creator.get(f"{CREATOR}/balance")
        assert response.status_code == 200, response.text
        return response.json()

    # Stripe

    async def deliver(self, event: Mapping[str, Any]) -> Response:
        self.delivered.add(event["id"])
        connect = event.get("account") is not None
        path, secret = ("stripe-connect", CONNECT_SECRET) if connect else ("stripe", SECRET)
        body = orjson.dumps(event)
        return await self.http.post(
            f"/api/v1/subscription/webhook/{path}",
            content=body,
            headers={"Stripe-Signature": signature(body, [secret], int(time.time()))},
        )

    def new(self, *types: str) -> list[dict[str, Any]]:
        return [
            event
            for event in self.stripe.events
            if event["id"] not in self.delivered and (not types or event["type"] in types)
        ]

    async def deliver_all(self, *types: str) -> None:
        for event in self.new(*types):
            response = await self.deliver(event)
            assert response.status_code == 200, (event["type"], response.text)

    async def resolve(self, minutes: float = 3) -> int:
        """Runs the background task `minutes` from now."""
        later = timedelta(minutes=minutes)
        payouts = Payouts(
            PayoutStore(self.database), self.client, lambda: datetime.now(UTC) + later
        )
        return await payouts.resolve()

    # Rows

    async def ledger(self, creator: ApiUser) -> list[tuple[str, int]]:
        return await self.sql(
            "select kind, amount_cents from creator_ledger where creator_id = %(id)s order by id",
            id=creator.id,
        )

    async def owed(self, creator: ApiUser) -> int:
        """The amount owed to a creator by the journal, including held earnings."""
        rows = await self.sql(
            """select coalesce(sum(j.amount_cents), 0) from creator_journal j
            left join creator_ledger l on l.id = j.ledger_id
            left join creator_payouts p on p.id = j.payout_id
            where j.account = 'creator' and coalesce(l.creator_id, p.creator_id) = %(id)s""",
            id=creator.id,
        )
        return int(rows[0][0])

    async def assert_balanced(self, creator: ApiUser) -> None:
        """The journal sums to zero, as a whole and for each entry, and agrees with ledger and
        payouts, of which it is written independently."""
        total = await self.sql("select coalesce(sum(amount_cents), 0) from creator_journal")
        assert total == [(0,)]
        uneven = await self.sql(
            """select ledger_id, payout_id from creator_journal
            group by 1, 2 having sum(amount_cents) <> 0"""
        )
        assert uneven == []
        rows = await self.sql(
            """select
              (select coalesce(sum(amount_cents), 0) from creator_ledger
               where creator_id = %(id)s),
              (select coalesce(sum(amount_cents), 0) from creator_payouts
               where creator_id = %(id)s and status in ('pending', 'processing', 'completed'))""",
            id=creator.id,
        )
        earned, taken = rows[0]
        assert await self.owed(creator) == earned - taken


@asynccontextmanager
async def open_creators_server(database_url: str, **environ: str) -> AsyncIterator[CreatorsServer]:
    async with AsyncExitStack() as stack:
        stack.enter_context(capture_logs())  # drawing tracebacks takes seconds
        gotrue = await stack.enter_async_context(open_project(database_url))
        fake = await stack.enter_async_context(open_stripe())
        settings = loading.load(
            environment(
                database_url,
                gotrue,
                REALTIME_BUS="local",
                CORS_ORIGIN=SITE,
                APP_BASE_URL=SITE,
                STRIPE_SECRET_KEY=fake.key,
                STRIPE_API_BASE=fake.url,
                STRIPE_WEBHOOK_SECRET=SECRET,
                STRIPE_CONNECT_WEBHOOK_SECRET=CONNECT_SECRET,
                **environ,
            )
        )
        services = await stack.enter_async_context(open_services(settings, Lifecycle()))
        database = await stack.enter_async_context(Database.open(settings.database))
        client = await stack.enter_async_context(
            Stripe.open(secret_key=Secret(fake.key), api_base=fake.url, policy=NOW)
        )
        await client.warm_up()
        http = await stack.enter_async_context(
            httpx.AsyncClient(
                transport=httpx.ASGITransport(services.app),
                base_url="http://cookcam.test",
                timeout=30,
            )
        )
        yield CreatorsServer(http, gotrue, database_url, settings, fake, client, database)
