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
from tests.features.conftest import AppUnderTest
from tests.identity.project import open_project
from tests.support.app import open_app
from tests.support.postgres import as_owner
from tests.support.whole_server import environment

MACROS = ("calories", "protein_g", "carbs_g", "fat_g", "sodium_mg")


@frozen
class FoodApp(AppUnderTest):
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
        settings = loading.load(environment(database_url, gotrue, REALTIME_BUS="local", **environ))
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
