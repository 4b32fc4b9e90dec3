from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.server import ContractServer, open_contract_server


@pytest.fixture
async def server(database_url: str, tmp_path: Path) -> AsyncIterator[ContractServer]:
    async with open_contract_server(database_url, tmp_path / "storage") as opened:
        yield opened
