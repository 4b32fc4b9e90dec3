"""Subscriptions in a database and at a stand-in for Stripe, and what makes them differ."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from attrs import define, field
from psycopg import sql
from psycopg.rows import dict_row

from cookcam.config import DatabaseConfig
from cookcam.config.readers import Secret
from cookcam.database import Database
from cookcam.database.connecting import connect
from cookcam.features.billing.ledger.ledger import SubscriptionLedger
from cookcam.features.billing.reconciliation.corrections import Corrections
from cookcam.features.billing.reconciliation.service import (
    Reconciliation,
    UserReconciliation,
)
from cookcam.features.billing.reconciliation.sources import Gone, Listing, Told
from cookcam.features.billing.reconciliation.store import ReconciliationStore
from cookcam.features.billing.reconciliation.stripe_source import StripeSource
from cookcam.features.billing.tiers.models import Provider, Subscription
from cookcam.features.billing.tiers.service import Catalogue
from cookcam.features.billing.tiers.store import SubscriptionStore
from cookcam.integrations.stripe import Stripe
from cookcam.observability.metrics import Metrics
from cookcam.sandbox.stripe import FakeStripe, open_stripe
from tests.features.billing.test_subscriptions_ledger import RecordingHub as ToldHub
from tests.integrations.stripe_conversations import open_client
from tests.support.commissions import NoCommissions
from tests.support.postgres import as_owner

DAY = timedelta(days=1)

USERS = """
insert into auth.users (email, raw_user_meta_data)
select gen_random_uuid() || '@example.test', '{"name": "Ann"}' from generate_series(1, %(count)s)
returning id"""

ROWS = """
insert into public.user_subscriptions (
  user_id, tier_id, status, current_period_start, current_period_end, provider,
  provider_subscription_id, provider_customer_id, as_of
)
select user_id, 2, 'active', %(start)s, %(end)s, 'stripe', ref, 'cus_' || ref,
  now() - interval '1 day'
from unnest(%(users)s::uuid[], %(refs)s::text[]) as given (user_id, ref)"""


async def run_sql(database_url: str, statement: str, **params: Any) -> list[dict[str, Any]]:
    """As the owner of the database."""
    async with await connect(as_owner(database_url)) as connection:
        cursor = connection.cursor(row_factory=dict_row)
        await cursor.execute(sql.SQL(statement), params)
        return await cursor.fetchall() if cursor.description else []


async def new_users(database_url: str, count: int) -> list[UUID]:
    return [row["id"] for row in await run_sql(database_url, USERS, count=count)]


async def store_as_sold(
    database_url: str, users: Sequence[UUID], refs: Sequence[str], start: int, end: int
) -> None:
    """Rows that say what the stand-in says of what `stock` made."""
    await run_sql(
        database_url,
        ROWS,
        users=list(users),
        refs=list(refs),
        start=datetime.fromtimestamp(start, UTC),
        end=datetime.fromtimestamp(end, UTC),
    )


def period_of(shown: dict[str, Any]) -> tuple[int, int]:
    item = shown["items"]["data"][0]
    return item["current_period_start"], item["current_period_end"]


@define(eq=False)
class Shop:
    """A fresh database, a stand-in for Stripe, and reconciliation between them."""

    url: str
    database: Database
    stripe: FakeStripe
    client: Stripe
    hub: ToldHub
    metrics: Metrics
    reconciliation: Reconciliation
    of_users: UserReconciliation
    users: list[UUID] = field(factory=list[UUID])
    refs: list[str] = field(factory=list[str])

    async def sql(self, statement: str, **params: Any) -> list[dict[str, Any]]:
        return await run_sql(self.url, statement, **params)

    async def sell(self, count: int, *, stored: bool = True, **stock: Any) -> list[str]:
        """Users who subscribe at Stripe; and here, unless their events were lost."""
        users = await new_users(self.url, count)
        refs = self.stripe.stock(
            count,
            metadata=lambda number: {"user_id": str(users[number]), "tier_id": "2"},
            **stock,
        )
        if stored:
            start, end = period_of(self.stripe.get("subscription", refs[0]))
            await store_as_sold(self.url, users, refs, start, end)
        self.users += users
        self.refs += refs
        return refs

    async def grant(
        self, provider: Provider, *, user: UUID | None = None, ends_in: timedelta = DAY, **told: Any
    ) -> str:
        """A row without anything at a provider."""
        user = user or (await new_users(self.url, 1))[0]
        ref = f"{provider}_{uuid4().hex}"
        now = datetime.now(UTC)
        values: dict[str, Any] = {
            "tier_id": 2,
            "status": "active",
            "superseded_status": None,
            "provider": provider,
            "provider_subscription_id": ref,
            "current_period_start": now - 31 * DAY,
            "current_period_end": now + ends_in,
            "as_of": now - 2 * DAY,
            **told,
        }
        columns = ", ".join(["user_id", *values])
        marks = ", ".join(f"%({name})s" for name in ["user_id", *values])
        await self.sql(
            f"insert into public.user_subscriptions ({columns}) values ({marks})",
            user_id=user,
            **values,
        )
        return ref

    async def change(self, refs: Sequence[str], assignment: str, **params: Any) -> None:
        """Makes rows differ from what the provider says."""
        await self.sql(
            f"update public.user_subscriptions set {assignment}"
            " where provider_subscription_id = any(%(refs)s)",
            refs=list(refs),
            **params,
        )

    async def row(self, ref: str) -> dict[str, Any]:
        (row,) = await self.sql(
            "select * from public.user_subscriptions where provider_subscription_id = %(ref)s",
            ref=ref,
        )
        return row

    async def corrected(self) -> set[str]:
        """The provider's ids of what reconciliation has changed."""
        rows = await self.sql(
            "select s.provider_subscription_id as ref, count(*) as lines"
            " from public.subscription_history h"
            " join public.user_subscriptions s on s.id = h.subscription_id"
            " where h.source = 'reconciliation' group by 1"
        )
        assert all(row["lines"] == 1 for row in rows), "each was corrected once"
        return {row["ref"] for row in rows}

    def second(self, *sources: Any, page: int = 500) -> Reconciliation:
        """Another process, as it were; with other sources, if given."""
        first = self.reconciliation
        return Reconciliation(
            first.store,
            sources or first.sources,
            first.corrections,
            first.now,
            self.metrics,
            page=page,
        )


@define(eq=False)
class Shelf:
    """A source without a list: what it answers to each id; an exception is raised."""

    provider: Provider
    responses: dict[str, Told | Gone | Exception] = field(factory=dict[str, Any])
    asked: list[str] = field(factory=list[str])
    lists: bool = False

    async def page(self, after: str | None) -> Listing:
        raise AssertionError("it has no list")

    async def look(self, known: Subscription) -> Told | Gone:
        ref = known.provider_subscription_id or ""
        self.asked.append(ref)
        response = self.responses[ref]
        if isinstance(response, Exception):
            raise response
        return response

    async def of_user(self, user_id: UUID) -> Sequence[Told]:
        return ()

    def tell(self, ref: str, *, ends_in: timedelta = 30 * DAY, **told: Any) -> None:
        now = datetime.now(UTC)
        known: dict[str, Any] = {
            "provider": self.provider,
            "provider_subscription_id": ref,
            "status": "active",
            "current_period_start": now - DAY,
            "current_period_end": now + ends_in,
            "as_of": now,
            "begun_at": now - 30 * DAY,
            **told,
        }
        self.responses[ref] = Told(**known)


@asynccontextmanager
async def open_shop(database_url: str) -> AsyncIterator[Shop]:
    async with AsyncExitStack() as stack:
        config = DatabaseConfig(url=Secret(database_url), pool_min=1, pool_max=8)
        database = await stack.enter_async_context(Database.open(config))
        fake = await stack.enter_async_context(open_stripe())
        client = await stack.enter_async_context(open_client(fake))
        hub, metrics, store = ToldHub(), Metrics(), SubscriptionStore(database)

        def now() -> datetime:
            return datetime.now(UTC)

        ledger, catalogue = SubscriptionLedger(database, store, hub, now), Catalogue(store)
        # Without the patient policy of the container, whose retries would make the tests slow.
        source = StripeSource(client, catalogue, store, now)
        rows = ReconciliationStore(database)
        corrections = Corrections(ledger, store, NoCommissions(), now)
        yield Shop(
            database_url,
            database,
            fake,
            client,
            hub,
            metrics,
            Reconciliation(rows, [source], corrections, now, metrics),
            UserReconciliation(rows, [source], corrections, now),
        )
