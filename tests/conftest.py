"""Fixtures every test may use. The database ones start nothing until a test asks for them."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import AsyncIterator, Iterator
from functools import cache
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
import pytest
from httpx._transports import default as httpx_transports

from tests.support.logs import configure_logs
from tests.support.postgres import TEMPLATE, Cluster, databases_directory, start_cluster

if TYPE_CHECKING:
    from cookcam.database import Database


# Compiled modules are kept: without them each worker would compile all of them again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
configure_logs()
# A client of a test's own would read the machine's root certificates, which takes 30 ms and is for
# nothing: whom tests speak to is on this machine.
httpx_transports.create_ssl_context = cache(httpx.create_ssl_context)  # pyright: ignore[reportPrivateImportUsage]


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Long values are named by their argument: keys and images differ between workers of a run."""
    return argname if isinstance(val, bytes | str) and len(val) > 80 else None


def pytest_collection_finish() -> None:
    """Exclude libraries and test modules from garbage collection; a full one takes 0.2 s of CPU.

    A started server does the same with all objects of the process; in a test it must not.
    """
    gc.collect()
    gc.freeze()
    gc.freeze = lambda: None


@pytest.fixture(scope="session")
def cluster(testrun_uid: str) -> Cluster:
    """The embedded PostgreSQL of this test run, shared by its workers."""
    return start_cluster(databases_directory() / f"cookcam-{testrun_uid[:12]}")


@pytest.fixture(scope="session")
def database_url(cluster: Cluster) -> str:
    """A migrated database that this worker's tests share. Log in as the server does."""
    database = f"worker_{uuid4().hex}"
    cluster.create(database, TEMPLATE)
    return cluster.url(database, "cookcam_app")


@pytest.fixture
def fresh_database_url(cluster: Cluster) -> Iterator[str]:
    """A migrated database of this test's own. Log in as the server does."""
    with cluster.temporary(TEMPLATE) as database:
        yield cluster.url(database, "cookcam_app")


@pytest.fixture
def empty_database_url(cluster: Cluster) -> Iterator[str]:
    """A database of this test's own without any schema. Log in as its owner."""
    with cluster.temporary() as database:
        yield cluster.url(database)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open `Database` on the worker's database."""
    from cookcam.config import DatabaseConfig
    from cookcam.config.secret import Secret
    from cookcam.database import Database

    config = DatabaseConfig(url=Secret(database_url), pool_min=1, pool_max=5)
    async with Database.open(config) as opened:
        yield opened
