"""Subscriptions in a database and at a fake Stripe, and ways to make them differ."""

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
from cookcam.features.billing.reconciliation.sources.models import (
    ProviderSubscription,
    SubscriptionPage,
    UnknownSubscription,
)
from cookcam.features.billing.reconciliation.sources.stripe import StripeSource
from cookcam.features.billing.reconciliation.store import ReconciliationStore
from cookcam.features.billing.tiers.models import Provider, Subscription
from cookcam.features.billing.tiers.service import Catalogue
from cookcam.features.billing.tiers.store import SubscriptionStore
from cookcam.integrations.stripe import Stripe
from cookcam.observability.metrics import Metrics
from cookcam.sandbox.stripe import FakeStripe, open_stripe
from tests.features.billing.test_subscriptions_ledger import RecordingHub as ReceivedHub
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
    """Stores the subscriptions that the fake's `stock` created."""
    await run_sql(
        database_url,
        ROWS,
        users=list(users),
        refs=list(refs),
        start=datetime.fromtimestamp(start, UTC),
        end=datetime.fromtimestamp(end, UTC),
    )


def period_of(subscription: dict[str, Any]) -> tuple[int, int]:
    item = subscription["items"]["data"][0]
    return item["current_period_start"], item["current_period_end"]


@define(eq=False)
class ReconciliationSetup:
    """A fresh database, a fake Stripe, and reconciliation between them."""

    url: str
    database: Database
    stripe: FakeStripe
    client: Stripe
    hub: ReceivedHub
    metrics: Metrics
    reconciliation: Reconciliation
    of_users: UserReconciliation
    users: list[UUID] = field(factory=list[UUID])
    refs: list[str] = field(factory=list[str])

    async def sql(self, statement: str, **params: Any) -> list[dict[str, Any]]:
        return await run_sql(self.url, statement, **params)

    async def sell(self, count: int, *, stored: bool = True, **stock: Any) -> list[str]:
        """Creates users with subscriptions at Stripe and, if `stored`, their rows."""
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
        self,
        provider: Provider,
        *,
        user: UUID | None = None,
        ends_in: timedelta = DAY,
        **columns: Any,
    ) -> str:
        """Stores a row without a subscription at its provider."""
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
            **columns,
        }
        names = ", ".join(["user_id", *values])
        marks = ", ".join(f"%({name})s" for name in ["user_id", *values])
        await self.sql(
            f"insert into public.user_subscriptions ({names}) values ({marks})",
            user_id=user,
            **values,
        )
        return ref

    async def change(self, refs: Sequence[str], assignment: str, **params: Any) -> None:
        """Changes rows so that they differ from their provider."""
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
        """The provider's ids of the corrected subscriptions."""
        rows = await self.sql(
            "select s.provider_subscription_id as ref, count(*) as lines"
            " from public.subscription_history h"
            " join public.user_subscriptions s on s.id = h.subscription_id"
            " where h.source = 'reconciliation' group by 1"
        )
        assert all(row["lines"] == 1 for row in rows), "each was corrected once"
        return {row["ref"] for row in rows}

    def second_instance(self, *sources: Any) -> Reconciliation:
        """The reconciliation of another process, with other sources if given."""
        first = self.reconciliation
        return Reconciliation(
            first.store,
            sources or first.sources,
            first.corrections,
            first.now,
            self.metrics,
        )


@define(eq=False)
class FakeSource:
    """A source without a list. `responses`: subscription id → result, or exception to raise."""

    provider: Provider
    responses: dict[str, ProviderSubscription | UnknownSubscription | Exception] = field(
        factory=dict[str, Any]
    )
    fetched: list[str] = field(factory=list[str])
    can_list: bool = False

    async def list_page(self, after: str | None) -> SubscriptionPage:
        raise AssertionError("can_list is false")

    async def fetch(self, stored: Subscription) -> ProviderSubscription | UnknownSubscription:
        ref = stored.provider_subscription_id or ""
        self.fetched.append(ref)
        response = self.responses[ref]
        if isinstance(response, Exception):
            raise response
        return response

    async def list_of_user(self, user_id: UUID) -> Sequence[ProviderSubscription]:
        return ()

    def report(self, ref: str, *, ends_in: timedelta = 30 * DAY, **fields: Any) -> None:
        """Reports a live subscription; `fields` replace its fields."""
        now = datetime.now(UTC)
        values: dict[str, Any] = {
            "provider": self.provider,
            "provider_subscription_id": ref,
            "status": "active",
            "current_period_start": now - DAY,
            "current_period_end": now + ends_in,
            "as_of": now,
            "created_at": now - 30 * DAY,
            **fields,
        }
        self.responses[ref] = ProviderSubscription(**values)


@asynccontextmanager
async def open_reconciliation_setup(database_url: str) -> AsyncIterator[ReconciliationSetup]:
    async with AsyncExitStack() as stack:
        config = DatabaseConfig(url=Secret(database_url), pool_min=1, pool_max=8)
        database = await stack.enter_async_context(Database.open(config))
        fake = await stack.enter_async_context(open_stripe())
        client = await stack.enter_async_context(open_client(fake))
        hub, metrics, store = ReceivedHub(), Metrics(), SubscriptionStore(database)

        def now() -> datetime:
            return datetime.now(UTC)

        ledger, catalogue = SubscriptionLedger(database, store, hub, now), Catalogue(store)
        # Without the container's background retry policy, whose delays would make the tests slow.
        source = StripeSource(client, catalogue, store, now)
        rows = ReconciliationStore(database)
        corrections = Corrections(ledger, store, NoCommissions(), now)
        yield ReconciliationSetup(
            database_url,
            database,
            fake,
            client,
            hub,
            metrics,
            Reconciliation(rows, [source], corrections, now, metrics),
            UserReconciliation(rows, [source], corrections, now),
        )
