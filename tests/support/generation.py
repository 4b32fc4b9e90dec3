"""The assembled program on a real port, with a fake model that can be made to fail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import Any
from uuid import uuid4

import httpx
import trio
from attrs import frozen

from cookcam.sandbox.gotrue import Gotrue, open_gotrue
from cookcam.sandbox.openai import FakeOpenAI, open_openai
from tests.features.conftest import ApiUser, AppUnderTest, Response
from tests.support.postgres import as_owner
from tests.support.whole_server import ServerUnderTest, environment, whole_server

FOODS = ["chicken breast", "rice", "tomato", "spinach", "onion"]
PREFERENCES: dict[str, Any] = {
    "servingSize": 2,
    "mealType": "dinner",
    "selectedAppliances": ["oven", "stove"],
    "dietaryTags": ["none"],
    "cuisinePreferences": ["italian", "thai"],
    "timeAvailable": "medium",
    "skillLevel": "easy",
    "mealPrepEnabled": False,
    "mealPrepPortions": None,
}
STREAM = {"Accept": "text/event-stream"}


@frozen
class StoredCounts:
    """What a user's generations have stored, counted and awarded."""

    suggestion_sessions: int
    sessions: int
    previews: int
    recipes: int
    counted: int
    xp: int


NOTHING = StoredCounts(0, 0, 0, 0, 0, 0)


@frozen
class GenerationApp(AppUnderTest):
    http: httpx.AsyncClient
    server: ServerUnderTest
    gotrue: Gotrue
    model: FakeOpenAI
    database_url: str

    async def stored_counts(self, person: ApiUser) -> StoredCounts:
        (row,) = await self.sql(
            "select (select count(*) from recipe_sessions where user_id = u.id),"
            " (select count(*) from cooking_sessions where user_id = u.id),"
            " (select count(*) from recipe_previews where user_id = u.id),"
            " (select count(*) from recipes where created_by = u.id),"
            " coalesce((select sum(used) from usage_counters where user_id = u.id), 0),"
            " coalesce((select sum(xp_gained) from user_progress where user_id = u.id"
            " and action <> 'UNLOCK_ACHIEVEMENT'), 0)"
            " from users u where u.id = %(id)s",
            id=person.id,
        )
        return StoredCounts(*map(int, row))

    async def exhaust_quota(self, person: ApiUser, used: int = 10) -> None:
        """Use up the free tier's ten recipes of the month."""
        await self.sql(
            "insert into usage_counters (user_id, metric, period_start, used) values"
            " (%(id)s, 'monthly_recipes', date_trunc('month', now() at time zone 'UTC')::date,"
            " %(used)s)",
            id=person.id,
            used=used,
        )


@asynccontextmanager
async def open_generation_app(database_url: str, **environ: str) -> AsyncIterator[GenerationApp]:
    # The first import takes longer than the deadlines of some tests.
    await trio.to_thread.run_sync(import_module, "openai")
    async with AsyncExitStack() as stack:
        gotrue = await stack.enter_async_context(open_gotrue(as_owner(database_url)))
        model = await stack.enter_async_context(open_openai())
        model.behaviour.chunk_size = 1000
        settings = environment(database_url, gotrue, OPENAI_BASE_URL=model.url, **environ)
        server = await stack.enter_async_context(whole_server(settings))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, timeout=30))
        yield GenerationApp(http, server, gotrue, model, database_url)


def new_session() -> str:
    return f"mine-{uuid4().hex}"


async def previews(person: ApiUser, session: str | None = None, **preferences: Any) -> Response:
    body: dict[str, Any] = {
        "detectedIngredients": FOODS,
        "userPreferences": {**PREFERENCES, **preferences},
    }
    if session is not None:
        body["sessionId"] = session
    return await person.post("/recipes/generate-previews", body)


async def selected_preview_body(person: ApiUser, place: int = 0) -> dict[str, Any]:
    """The body of `/recipes/generate-detailed` for one of new previews."""
    data = (await previews(person)).json()["data"]
    return {"selectedPreview": data["previews"][place], "sessionId": data["sessionId"]}
