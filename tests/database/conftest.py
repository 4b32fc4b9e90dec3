"""Raw connections to the worker's database, as its superuser."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cookcam.database.connection import Connection
from tests.database.borrowing import Connector
from tests.support.postgres import as_owner


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    async with await Connection.connect(as_owner(database_url), autocommit=True) as opened:
        yield opened


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[Connection]:
    async with await Connection.connect(as_owner(database_url), autocommit=True) as opened:
        yield opened


@pytest.fixture
def connector(database_url: str) -> Connector:
    return Connector(as_owner(database_url))
