"""An app with the catalogue, nutrition and a fake USDA server, for tests of both features."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
from attrs import evolve, frozen

from cookcam.cache import Cache
from cookcam.config import loading
from cookcam.config.readers import Secret
from cookcam.database import Database
from cookcam.features.food.ingredients.service import Ingredients
from cookcam.features.food.nutrition.service import SmartNutritionService
from cookcam.integrations.retry import RetryPolicy
from cookcam.integrations.usda import READ, HourlyBudget, Usda
from cookcam.sandbox.gotrue import Gotrue
from cookcam.sandbox.usda import FakeUsda, open_usda
from tests.features.conftest import ApiUser, Client
from tests.identity.project import new_user, open_project
from tests.support.app import open_app
from tests.support.postgres import as_owner

MACROS = ("calories", "protein_g", "carbs_g", "fat_g", "sodium_mg")


@frozen
class FoodApp:
    """The running app and its components."""

    gotrue: Gotrue
    usda: FakeUsda
    client: Usda
    database: Database
    database_url: str
    ingredients: Ingredients
    smart: SmartNutritionService
    cache: Cache
    http: httpx.AsyncClient

    @property
    def guest(self) -> Client:
        return Client(self.http)

    async def person(self, name: str = "Ann", role: str | None = None) -> ApiUser:
        user = await new_user(self.gotrue, name, role)
        return ApiUser(self.http, self.gotrue.issue_token(user), user)

    async def add(self, name: str, *macros: float | None, **columns: Any) -> int:
        """Insert a catalogue row and return its id; `macros` per 100 g in the order of MACROS."""
        values = dict(zip((f"{name}_per_100g" for name in MACROS), macros, strict=False))
        values |= {"name": name, **columns}
        async with self.database.transaction() as tx:
            names = ", ".join(values)
            places = ", ".join(f"%({column})s" for column in values)
            return await tx.fetch_value(
                f"insert into public.ingredients ({names}) values ({places}) returning id",  # type: ignore
                **values,
            )


@asynccontextmanager
async def open_food_app(
    database_url: str,
    *,
    policy: RetryPolicy = READ,
    budget: HourlyBudget | None = None,
    **environ: str,
) -> AsyncIterator[FoodApp]:
    async with AsyncExitStack() as stack:
        gotrue = await stack.enter_async_context(open_project(database_url))
        usda = await stack.enter_async_context(open_usda())
        settings = loading.load(
            {
                "APP_ENV": "test",
                "DATABASE_URL": database_url,
                "DB_POOL_MIN": "1",
                "DB_POOL_MAX": "8",
                "SUPABASE_URL": gotrue.url,
                "SUPABASE_ANON_KEY": gotrue.anon_key,
                "SUPABASE_SERVICE_ROLE_KEY": gotrue.service_role_key,
                "OPENAI_API_KEY": "sk-test",
                "ENABLE_RATE_LIMITING": "false",
                "REALTIME_BUS": "local",
                **environ,
            }
        )
        client = await stack.enter_async_context(
            Usda.open(base_url=usda.url, api_key=Secret(usda.api_key), budget=budget, policy=policy)
        )
        app = await stack.enter_async_context(
            open_app(settings, lambda built: {"clients": evolve(built.clients, usda=client)})
        )
        container = app.container
        yield FoodApp(
            gotrue,
            usda,
            client,
            container.database,
            database_url,
            container.ingredients,
            container.smart_nutrition,
            container.cache,
            app.http,
        )


def word() -> str:
    """A word that no other test uses."""
    return "".join(chr(ord("g") + int(digit, 16)) for digit in uuid4().hex[:12])


__all__ = ["FoodApp", "as_owner", "open_food_app", "word"]
