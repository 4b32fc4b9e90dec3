"""The fake Supabase Auth, and real clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import httpx
import pytest
from supabase_auth import AsyncGoTrueClient

from cookcam.sandbox.gotrue import Gotrue, open_gotrue
from tests.support.postgres import as_owner, databases_directory

PASSWORD = "Sourdough-1"


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """The sandbox's home of this run, which an earlier run left half made.

    The tests that use it belong to one xdist group and stop what they start in it. It is not
    under pytest's own directory, whose parents PostgreSQL's system user may not enter.
    """
    with TemporaryDirectory(prefix="cookcam-", dir=databases_directory()) as directory:
        home = Path(directory) / "home"
        (home / "postgres.unfinished").mkdir(parents=True)
        (home / "postgres.unfinished" / "PG_VERSION").write_text("18\n")
        (home / "sandbox.json").write_text('{"pid": 1}')
        yield home


@pytest.fixture
async def gotrue(database_url: str) -> AsyncIterator[Gotrue]:
    async with open_gotrue(as_owner(database_url)) as running:
        yield running


@pytest.fixture
def address() -> str:
    """A unique e-mail address."""
    return f"{uuid4().hex}@cookcam.example"


@pytest.fixture
async def client(gotrue: Gotrue) -> AsyncIterator[AsyncGoTrueClient]:
    """The `auth` part of the supabase client, with the project's public key."""
    async with client_of(gotrue, gotrue.anon_key) as made:
        yield made


@pytest.fixture
async def admin(gotrue: Gotrue) -> AsyncIterator[AsyncGoTrueClient]:
    """The same with the service key."""
    async with client_of(gotrue, gotrue.service_role_key) as made:
        yield made


@pytest.fixture
async def http(gotrue: Gotrue) -> AsyncIterator[httpx.AsyncClient]:
    """Bare HTTP to the fake, with the public key and an older client's API version."""
    headers = {"apikey": gotrue.anon_key}
    async with bare_http(base_url=gotrue.url, headers=headers) as made:
        yield made


def bare_http(**options: Any) -> httpx.AsyncClient:
    """An HTTP client that does not load certificates, which takes longer than most tests."""
    return httpx.AsyncClient(verify=False, **options)


def client_of(gotrue: Gotrue, key: str) -> AsyncGoTrueClient:
    return AsyncGoTrueClient(
        url=f"{gotrue.url}/auth/v1",
        headers={"apikey": key, "Authorization": f"Bearer {key}"},
        http_client=bare_http(),
        auto_refresh_token=False,
        persist_session=False,
    )
