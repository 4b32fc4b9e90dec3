"""Dumps with the real pg_dump and pg_restore of the embedded PostgreSQL."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import trio
from click.testing import CliRunner, Result
from psycopg import sql

from cookcam.cli import main
from cookcam.database.dumps import (
    DumpError,
    DumpTools,
    restore_dump,
    verify_dump,
    write_dump,
)
from cookcam.database.migrate import MIGRATIONS, checksums_of
from cookcam.sandbox.postgres import find_binaries
from tests.support.postgres import Cluster, as_owner
from tests.support.users import create_user

TOOLS = DumpTools(str(find_binaries()))


def size_of(file: Path) -> int:
    return file.stat().st_size


def modes(directory: Path) -> dict[str, int]:
    """The files of a folder with their permissions."""
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


@pytest.fixture
async def dump(fresh_database_url: str, tmp_path: Path) -> Path:
    """A dump of a database with two users."""
    for name in ("Ann", "Bob"):
        await create_user(fresh_database_url, name=name)
    file = tmp_path / "cookcam.dump"
    await write_dump(as_owner(fresh_database_url), file, TOOLS)
    return file


async def test_manifest_has_schema_version_rows_and_checksum(dump: Path) -> None:
    manifest = await verify_dump(dump)
    assert manifest.schema_version == max(checksums_of(MIGRATIONS))
    assert manifest.rows["public.users"] == manifest.rows["auth.users"] == 2
    assert manifest.rows["cookcam.migration_checksums"] == len(checksums_of(MIGRATIONS))
    assert manifest.size == size_of(dump)
    assert modes(dump.parent) == {"cookcam.dump": 0o600, "cookcam.dump.json": 0o600}


async def test_dump_is_restored_into_an_empty_database_with_its_access_rules(
    dump: Path, empty_database_url: str
) -> None:
    restored = await restore_dump(empty_database_url, dump, TOOLS, overwrite=False)
    assert restored.manifest.rows["public.users"] == 2
    with psycopg.connect(empty_database_url.replace("postgres@", "cookcam_app@")) as connection:
        connection.execute("set role anon")
        assert connection.execute("select count(*) from public.recipes").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select * from public.stripe_webhook_events")


async def test_rows_are_those_of_one_moment_under_writes(
    fresh_database_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    async def write() -> None:
        while True:
            await create_user(fresh_database_url)

    file = tmp_path / "cookcam.dump"
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(write)
        manifest = await write_dump(as_owner(fresh_database_url), file, TOOLS)
        nursery.cancel_scope.cancel()
    # Raises when the rows of a table differ from the manifest's.
    await restore_dump(empty_database_url, file, TOOLS, overwrite=False)
    assert manifest.rows["public.users"] == manifest.rows["auth.users"]


async def test_database_with_tables_is_only_overwritten_on_request(
    dump: Path, fresh_database_url: str
) -> None:
    await create_user(fresh_database_url, name="Cid")
    url = as_owner(fresh_database_url)
    with pytest.raises(DumpError, match="not empty"):
        await restore_dump(url, dump, TOOLS, overwrite=False)
    restored = await restore_dump(url, dump, TOOLS, overwrite=True)
    assert restored.manifest.rows["public.users"] == 2


async def test_damaged_dump_is_rejected_before_anything_is_dropped(
    dump: Path, fresh_database_url: str
) -> None:
    with dump.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"?")
    url = as_owner(fresh_database_url)
    with pytest.raises(DumpError, match="damaged"):
        await restore_dump(url, dump, TOOLS, overwrite=True)
    with psycopg.connect(url) as connection:
        assert connection.execute("select count(*) from public.users").fetchone() == (2,)


async def test_failed_dump_leaves_no_file_and_names_no_password(tmp_path: Path) -> None:
    file = tmp_path / "cookcam.dump"
    with pytest.raises(DumpError) as failed:
        await write_dump("postgresql://ann:secret-password@127.0.0.1:1/none", file, TOOLS)
    assert "secret-password" not in str(failed.value)
    assert modes(tmp_path) == {}


async def test_missing_program_is_named(tmp_path: Path, empty_database_url: str) -> None:
    with pytest.raises(DumpError, match="pg_dump is not in POSTGRES_TOOLS_DIRECTORY"):
        await write_dump(empty_database_url, tmp_path / "a.dump", DumpTools(str(tmp_path)))


def cli(url: str, *arguments: str) -> Result:
    settings = {"DATABASE_URL": url, "APP_ENV": "test", "POSTGRES_TOOLS_DIRECTORY": TOOLS.directory}
    return CliRunner(env=settings).invoke(main, arguments)


def test_missing_folder_of_a_backup_is_named(fresh_database_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "absent"
    backup = cli(as_owner(fresh_database_url), "backup", str(folder / "cookcam.dump"))
    assert (backup.exit_code, backup.output) == (1, f"there is no folder {folder}\n")


def test_commands_back_up_and_restore_into_a_new_database(
    cluster: Cluster, fresh_database_url: str, tmp_path: Path
) -> None:
    url, file = as_owner(fresh_database_url), str(tmp_path / "cookcam.dump")
    backup = cli(url, "backup", file)
    assert backup.exit_code == 0, backup.output
    assert json.loads(Path(f"{file}.json").read_text())["sha256"] in backup.output
    assert "not empty" in cli(url, "restore", file).output
    name = f"restored_{uuid4().hex}"
    try:
        restored = cli(url, "restore", file, "--database", name)
        assert restored.exit_code == 0, restored.output
        assert "the numbers of rows agree" in restored.output
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL("drop database if exists {}").format(sql.Identifier(name)))
