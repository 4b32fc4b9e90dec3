"""The running program with storage, for HTTP tests of recipes, users and rewards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from attrs import frozen
from psycopg import sql
from psycopg.rows import tuple_row
from structlog.testing import capture_logs

from cookcam.database.connection import Connection
from cookcam.integrations.supabase.storage import BUCKETS
from cookcam.sandbox.gotrue import Gotrue, open_gotrue
from cookcam.sandbox.serving import Faults
from cookcam.sandbox.storage import Files, include_storage
from tests.features.conftest import ApiUser, AppUnderTest, Client, Response
from tests.support.postgres import as_owner
from tests.support.whole_server import environment, whole_server

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@frozen
class ApiServer(AppUnderTest):
    """The running program and its fake providers."""

    http: httpx.AsyncClient
    gotrue: Gotrue
    files: Files
    storage: Faults
    database_url: str

    async def recipe(self, author: Client, **content: Any) -> str:
        """Creates a recipe, published by default; returns its id."""
        given = {"title": f"Soup {uuid4()}", "is_published": True, **content}
        response = await author.post("/recipes", given)
        assert response.status_code == 201, response.text
        return response.json()["id"]

    async def sql(self, statement: str, **params: Any) -> list[Any]:
        """Runs statements as the owner of the database; returns the rows of the last one."""
        url = as_owner(self.database_url)
        async with await Connection.connect(url, autocommit=True) as connection:
            cursor = connection.cursor(row_factory=tuple_row)
            await cursor.execute(sql.SQL(statement), params)
            while cursor.nextset():
                pass
            return await cursor.fetchall() if cursor.description else []

    async def value(self, statement: str, **params: Any) -> Any:
        ((value,),) = await self.sql(statement, **params)
        return value

    async def xp(self, person: ApiUser) -> int:
        """The XP of a user's actions, without the rewards of achievements."""
        return await self.value(
            "select coalesce(sum(xp_gained), 0)::int from user_progress"
            " where user_id = %(id)s and action <> 'UNLOCK_ACHIEVEMENT'",
            id=person.id,
        )

    @asynccontextmanager
    async def without(self, table: str) -> AsyncIterator[None]:
        """Hides a table, so that statements on it fail."""
        await self.sql(f"alter table public.{table} rename to lost")
        try:
            with capture_logs():  # printing the stacks takes seconds
                yield
        finally:
            await self.sql(f"alter table public.lost rename to {table}")

    @asynccontextmanager
    async def failing(self, event: str, table: str, code: str = "P0001") -> AsyncIterator[None]:
        """Makes every `event` (insert, delete) on a row of the table fail."""
        await self.sql(
            "create function public.fails() returns trigger language plpgsql as"
            f" $$ begin raise exception 'no' using errcode = '{code}'; end $$;"
            f" create trigger fails before {event} on public.{table}"
            " for each row execute function public.fails()"
        )
        try:
            with capture_logs():
                yield
        finally:
            await self.sql("drop function public.fails() cascade")


@asynccontextmanager
async def open_api_server(
    database_url: str, home: Path, **environ: str
) -> AsyncIterator[ApiServer]:
    async with AsyncExitStack() as stack:
        files, storage = Files.at(home, BUCKETS), Faults()
        include = partial(include_storage, files=files, behaviour=storage)
        gotrue = await stack.enter_async_context(
            open_gotrue(as_owner(database_url), include=include)
        )
        yield await stack.enter_async_context(
            running(database_url, gotrue, files, storage, **environ)
        )


@asynccontextmanager
async def running(
    database_url: str, gotrue: Gotrue, files: Files, storage: Faults, **environ: str
) -> AsyncIterator[ApiServer]:
    """Runs the program against an existing identity project."""
    async with (
        whole_server(environment(database_url, gotrue, **environ)) as server,
        httpx.AsyncClient(base_url=server.url, timeout=30) as http,
    ):
        yield ApiServer(http, gotrue, files, storage, database_url)


@asynccontextmanager
async def restarted(api: ApiServer) -> AsyncIterator[ApiServer]:
    """A second process of the program over the same database and storage."""
    async with running(api.database_url, api.gotrue, api.files, api.storage) as again:
        yield again


def as_of(person: ApiUser, api: ApiServer) -> ApiUser:
    """The same user as a client of another process."""
    return ApiUser(api.http, person.token, person.user)


def refused(response: Response, status: int, literal: str) -> dict[str, Any]:
    """Checks an error response; returns its body."""
    body = response.json()
    assert (response.status_code, body["error"]) == (status, literal), response.text
    assert "success" not in body
    assert {"message", "code", "requestId"} <= body.keys()
    return body
