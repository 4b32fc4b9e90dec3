"""The whole program on a real port, with a fake server for every outside service."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from attrs import frozen

from cookcam.integrations.supabase.storage import BUCKETS
from cookcam.sandbox.app_store import open_apple
from cookcam.sandbox.google_play import open_google_play
from cookcam.sandbox.gotrue import Gotrue, open_gotrue
from cookcam.sandbox.openai import FakeOpenAI, open_openai
from cookcam.sandbox.storage import Files, include_storage
from cookcam.sandbox.stripe import FakeStripe, open_stripe
from cookcam.sandbox.usda import FakeUsda, open_usda
from tests.features.conftest import ApiUser, AppUnderTest, Client
from tests.identity.project import PASSWORD, some_email
from tests.support.postgres import as_owner
from tests.support.whole_server import ServerUnderTest, environment, whole_server

SUBSCRIBE = """
    insert into user_subscriptions (
      user_id, tier_id, status, current_period_start, current_period_end, provider,
      provider_subscription_id, provider_customer_id, cancel_at_period_end
    )
    select %(user)s, id, %(status)s, now() - interval '10 days',
      now() + make_interval(days => %(days)s), 'manual', %(ref)s, null, %(cancels)s
      from subscription_tiers where slug = %(tier)s
"""


@frozen
class ContractServer(AppUnderTest):
    """The running program, what it talks to, and who uses it."""

    server: ServerUnderTest
    http: httpx.AsyncClient
    gotrue: Gotrue
    openai: FakeOpenAI
    usda: FakeUsda
    stripe: FakeStripe
    database_url: str

    async def person(
        self, name: str = "Ann", role: str | None = None, password: str = PASSWORD
    ) -> ApiUser:
        email = some_email(name.lower())
        user = await self.gotrue.create_user(email, password, name, role)
        return ApiUser(self.http, self.gotrue.issue_token(user), user)

    async def creator(self, name: str = "Cora") -> ApiUser:
        """A user with the creator tier, which has no limits."""
        person = await self.person(name)
        await self.subscribe(person, "creator")
        return person

    async def subscribe(
        self,
        person: ApiUser,
        tier: str,
        status: str = "active",
        *,
        days: int = 20,
        cancels: bool = False,
    ) -> None:
        """`days` from now the period ends; before now when negative."""
        await self.sql(
            SUBSCRIBE,
            user=person.id,
            tier=tier,
            status=status,
            days=days,
            ref=f"given_{uuid4().hex}",
            cancels=cancels,
        )

    async def recipe(self, author: Client, **content: Any) -> str:
        """The id of a new recipe, published unless said otherwise."""
        given = {"title": f"Soup {uuid4()}", "is_published": True, **content}
        response = await author.post("/recipes", given)
        assert response.status_code == 201, response.text
        return response.json()["id"]

    async def ingredient(self, name: str) -> int:
        ((found,),) = await self.sql(
            "insert into ingredients (name, calories_per_100g, protein_g_per_100g,"
            " carbs_g_per_100g, fat_g_per_100g, sodium_mg_per_100g)"
            " values (%(name)s, 10, 1, 1, 1, 1) returning id",
            name=name,
        )
        return found


@asynccontextmanager
async def open_contract_server(
    database_url: str, home: Path, **environ: str
) -> AsyncGenerator[ContractServer]:
    """`environ` are variables that differ from those of tests and of the fakes."""
    async with AsyncExitStack() as stack:
        include = partial(include_storage, files=Files.at(home, BUCKETS))
        gotrue = await stack.enter_async_context(
            open_gotrue(as_owner(database_url), include=include)
        )
        openai = await stack.enter_async_context(open_openai())
        openai.behaviour.chunk_size = 1000
        usda = await stack.enter_async_context(open_usda())
        stripe = await stack.enter_async_context(open_stripe())
        apple = await stack.enter_async_context(open_apple())
        google = await stack.enter_async_context(open_google_play())
        root = home.with_name("apple-root.der")
        root.write_bytes(apple.authority.root)
        settings = environment(
            database_url,
            gotrue,
            **{
                "OPENAI_BASE_URL": openai.url,
                "USDA_API_KEY": usda.api_key,
                "USDA_API_BASE_URL": usda.url,
                "STRIPE_SECRET_KEY": stripe.key,
                "STRIPE_API_BASE": stripe.url,
                **apple.bindings,
                **google.bindings,
                "APPLE_ROOT_CERTIFICATES": str(root),
                "APPLE_API_PRIVATE_KEY": apple.private_key,
                "GOOGLE_SERVICE_ACCOUNT_KEY": google.service_account,
                **environ,
            },
        )
        server = await stack.enter_async_context(whole_server(settings))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, timeout=30))
        yield ContractServer(server, http, gotrue, openai, usda, stripe, database_url)
