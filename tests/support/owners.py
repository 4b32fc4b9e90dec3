"""The running program with identities, files and payments behind it, and people who own things."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import trio
from attrs import define, field, frozen
from quart import request
from quart_trio import QuartTrio

from cookcam.features.accounts.personal_data import FOLDERS
from cookcam.integrations.supabase.storage import BUCKETS
from cookcam.sandbox.gotrue import Gotrue, open_gotrue
from cookcam.sandbox.gotrue.keys import SigningKey
from cookcam.sandbox.serving import Faults
from cookcam.sandbox.storage import Files, include_storage
from cookcam.sandbox.stripe import FakeStripe, open_stripe
from tests.features.conftest import ApiUser, AppUnderTest
from tests.support.postgres import as_owner
from tests.support.whole_server import ServerUnderTest, environment, whole_server


@define(eq=False)
class Hold:
    """Makes requests like `at`, a method and the beginning of a path, wait for ever; `done` ones
    are carried out first, so that only their answer never comes. `reached` says that one waits."""

    at: tuple[str, str] | None = None
    done: bool = False
    reached: trio.Event = field(factory=trio.Event)

    def next(self, method: str, path: str, *, done: bool) -> None:
        self.at, self.done, self.reached = (method, path), done, trio.Event()

    def nowhere(self) -> None:
        self.at = None

    async def here(self, *, done: bool) -> None:
        if self.at is None or self.done is not done:
            return
        method, path = self.at
        if request.method == method and request.path.startswith(path):
            self.reached.set()
            await trio.sleep_forever()

    def include(self, app: QuartTrio) -> None:
        async def before() -> None:
            await self.here(done=False)

        async def after(response: Any) -> Any:
            await self.here(done=True)
            return response

        app.before_request(before)
        app.after_request(after)


@frozen
class OwnersApp(AppUnderTest):
    """What is behind the program; `url` is where the program itself answers, if it runs here."""

    gotrue: Gotrue
    files: Files
    storage: Faults
    stripe: FakeStripe
    hold: Hold
    database_url: str
    settings: dict[str, str]
    http: httpx.AsyncClient
    server: ServerUnderTest | None = None

    async def subscribe(self, person: ApiUser, tier: int = 3) -> str:
        """A subscription that Stripe charges for, by default the creator's; its id there."""
        (ref,) = self.stripe.stock(1)
        await self.sql(
            "insert into user_subscriptions (user_id, tier_id, status, current_period_start,"
            " current_period_end, provider, provider_subscription_id, provider_customer_id)"
            " values (%(id)s, %(tier)s, 'active', now(), now() + interval '1 day', 'stripe',"
            " %(ref)s, %(customer)s)",
            id=person.id,
            tier=tier,
            ref=ref,
            customer=f"cus_{person.id[:8]}",
        )
        return ref

    def keep_files(self, person: ApiUser) -> int:
        """A file in each bucket; how many."""
        for bucket, folder in FOLDERS.items():
            self.files.put(
                bucket, f"{folder}/{person.id}/{uuid4()}.jpg", b"jpeg", "image/jpeg", "max-age=60"
            )
        return len(FOLDERS)

    def files_of(self, person: ApiUser) -> list[str]:
        return [
            about.key
            for bucket in BUCKETS
            for about in self.files.all(bucket)
            if person.id in about.key
        ]

    async def traces_of(self, person: ApiUser) -> list[str]:
        """Every table, of every schema, that contains the id or the address of a user."""
        tables = await self.sql(
            "select format('%%I.%%I', n.nspname, c.relname) from pg_class c"
            " join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p')"
            " and n.nspname not in ('pg_catalog', 'information_schema') order by 1"
        )
        looks = " union all ".join(
            f"select '{table}' from {table} t where position(%(id)s in t::text) > 0"
            " or position(%(email)s in t::text) > 0"
            for (table,) in tables
        )
        found = await self.sql(looks, id=person.id, email=person.email)
        return sorted({table for (table,) in found})

    async def job(self, person: ApiUser) -> Any:
        rows = await self.sql(
            "select status, attempts, completed_at is not null from account_deletions"
            " where user_id = %(id)s",
            id=person.id,
        )
        return rows[0] if rows else None


@asynccontextmanager
async def open_owners_app(
    database_url: str, home: Path, *, running: bool = True, **environ: str
) -> AsyncIterator[OwnersApp]:
    """`running`: the program runs in this process, else the caller starts it."""
    files, storage, hold = Files.at(home, BUCKETS), Faults(), Hold()

    def include(app: QuartTrio, key: SigningKey) -> None:
        include_storage(app, key, files=files, behaviour=storage)
        hold.include(app)

    async with AsyncExitStack() as stack:
        stripe = await stack.enter_async_context(open_stripe())
        gotrue = await stack.enter_async_context(
            open_gotrue(as_owner(database_url), include=include)
        )
        settings = environment(
            database_url,
            gotrue,
            STRIPE_SECRET_KEY=stripe.key,
            STRIPE_API_BASE=stripe.url,
            # A run soon after the start would take what a test has in store for another request.
            RECONCILIATION_TIME="off",
            **environ,
        )
        server = await stack.enter_async_context(whole_server(settings)) if running else None
        url = server.url if server else "http://127.0.0.1:9"
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30))
        yield OwnersApp(gotrue, files, storage, stripe, hold, database_url, settings, http, server)
