"""The assembled app over a real database and a real identity provider, for tests of features."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
from attrs import frozen

from cookcam.app.container import Container
from cookcam.config import loading
from cookcam.database import Database
from cookcam.features.recipes.catalogue.service import Recipes
from cookcam.http import admission
from cookcam.http.rate_limit import RateLimits
from cookcam.integrations.supabase.client import SupabaseAuth
from cookcam.sandbox.gotrue import Gotrue, User
from tests.identity.project import PASSWORD, new_user, open_project
from tests.support.app import open_app
from tests.support.postgres import run_as_owner
from tests.support.whole_server import environment

Response = httpx.Response
LANDING = "https://cookcam.test/reset-password"


@frozen
class Client:
    """A client of the app, signed in with `token` or a guest."""

    http: httpx.AsyncClient
    token: str | None = None

    async def request(self, method: str, path: str, **kwargs: Any) -> Response:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= kwargs.pop("headers", {})
        return await self.http.request(method, f"/api/v1{path}", headers=headers, **kwargs)

    async def get(self, path: str, **kwargs: Any) -> Response:
        return await self.request("GET", path, **kwargs)

    async def post(self, path: str, json: Any = None, **kwargs: Any) -> Response:
        return await self.request("POST", path, json=json, **kwargs)

    async def put(self, path: str, json: Any = None, **kwargs: Any) -> Response:
        return await self.request("PUT", path, json=json, **kwargs)

    async def delete(self, path: str, **kwargs: Any) -> Response:
        return await self.request("DELETE", path, **kwargs)


@frozen
class ApiUser(Client):
    """A user with an account and a token."""

    user: User | None = None

    @property
    def id(self) -> str:
        assert self.user is not None
        return str(self.user.id)

    @property
    def email(self) -> str:
        assert self.user is not None
        return self.user.email


class AppUnderTest:
    """Base of the running apps of tests: their users, and SQL as the owner of the database."""

    http: httpx.AsyncClient
    gotrue: Gotrue
    database_url: str

    @property
    def guest(self) -> Client:
        return Client(self.http)

    async def person(self, name: str = "Ann", role: str | None = None) -> ApiUser:
        """A new user with a token. The token has no session."""
        user = await new_user(self.gotrue, name, role)
        return ApiUser(self.http, self.gotrue.issue_token(user), user)

    async def sql(self, statement: str, **params: Any) -> list[Any]:
        return await run_as_owner(self.database_url, statement, params)


@frozen
class Server(AppUnderTest):
    """The running app and its parts."""

    container: Container
    gotrue: Gotrue
    provider: SupabaseAuth
    database: Database
    database_url: str
    recipes: Recipes
    http: httpx.AsyncClient
    limits: RateLimits


OpenServer = Callable[..., Any]


@asynccontextmanager
async def open_server(
    database_url: str,
    *,
    replace: Callable[[Container], dict[str, Any]] = lambda _: {},
    **environ: str,
) -> AsyncIterator[Server]:
    async with AsyncExitStack() as stack:
        gotrue = await stack.enter_async_context(open_project(database_url))
        settings = loading.load(
            environment(
                database_url,
                gotrue,
                REALTIME_BUS="local",
                APP_BASE_URL="https://cookcam.test",
                **environ,
            )
        )
        app = await stack.enter_async_context(open_app(settings, replace))
        container = app.container
        yield Server(
            container,
            gotrue,
            container.clients.identity,
            container.database,
            database_url,
            container.recipes,
            app.http,
            container.limits,
        )


@pytest.fixture(autouse=True)
def no_load_is_shed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred requests at once wait longer than a second on a busy machine."""
    monkeypatch.setattr(admission, "MAX_QUEUE_TIME", 60.0)


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[Server]:
    async with open_server(database_url) as opened:
        yield opened


@pytest.fixture
async def guest(server: Server) -> Client:
    return server.guest


@pytest.fixture
async def ann(server: Server) -> ApiUser:
    return await server.person("Ann")


@pytest.fixture
async def bob(server: Server) -> ApiUser:
    return await server.person("Bob")


@pytest.fixture
def password() -> str:
    return PASSWORD
