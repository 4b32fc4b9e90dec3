"""A Supabase project for tests: the fake server on a real port, and the real client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from cookcam.config.secret import Secret
from cookcam.integrations.supabase.client import SupabaseAuth
from cookcam.sandbox.gotrue import Gotrue, User, open_gotrue, service
from tests.support.postgres import as_owner

# A hash of the usual cost takes 10 ms of processor time, for each user of each test.
service.SCRYPT_COST = 4

PASSWORD = "Correct<horse>9 "
"""With characters and an edge space that a careless server would strip."""


@asynccontextmanager
async def open_project(database_url: str) -> AsyncIterator[Gotrue]:
    """The fake server on the database behind `database_url`."""
    async with open_gotrue(as_owner(database_url)) as gotrue:
        yield gotrue


@asynccontextmanager
async def open_client(
    gotrue: Gotrue, *, anon_key: str | None = None
) -> AsyncIterator[SupabaseAuth]:
    """The server's client of the fake."""
    async with SupabaseAuth.open(
        supabase_url=gotrue.url,
        anon_key=Secret(anon_key or gotrue.anon_key),
        service_role_key=Secret(gotrue.service_role_key),
    ) as provider:
        yield provider


def some_email(name: str = "ann") -> str:
    return f"{name}-{uuid4().hex[:12]}@example.com"


async def new_user(gotrue: Gotrue, name: str = "Ann", role: str | None = None) -> User:
    """A confirmed person nobody else in this test run knows."""
    return await gotrue.create_user(some_email(name.lower()), PASSWORD, name, role)
