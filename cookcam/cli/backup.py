"""`cookcam backup` and `cookcam restore`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click

from cookcam.cli.common import ENV_FILE, database_config, environment, fail

T = TypeVar("T")

FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@click.command()
@ENV_FILE
@FILE
def backup(env_file: Path | None, file: Path) -> None:
    """Dump the whole database to FILE, and its manifest to FILE.json, while servers run.

    Reads as the login of BACKUP_DATABASE_URL, MIGRATION_DATABASE_URL or DATABASE_URL. An existing
    FILE is replaced when the new one is complete.
    """
    from cookcam.database.dumps import DumpTools, write_dump

    database = database_config(environment(env_file))
    tools = DumpTools(database.tools_directory)
    manifest = _run(lambda: write_dump(database.dump_url.reveal(), file, tools))
    rows = sum(manifest.rows.values())
    click.echo(
        f"{file}: {manifest.size:,} bytes, {len(manifest.rows)} tables, {rows:,} rows,"
        f" schema {manifest.schema_version}, sha256 {manifest.sha256}"
    )


@click.command()
@ENV_FILE
@FILE
@click.option(
    "--database",
    "name",
    metavar="NAME",
    help="Restore into this database of the same server; created unless it exists.",
)
@click.option(
    "--overwrite", is_flag=True, help="Drop what the database has. Stop the servers first."
)
def restore(env_file: Path | None, file: Path, name: str | None, overwrite: bool) -> None:
    """Restore FILE into an empty database, and compare the rows of each table with FILE.json.

    Writes as the login of MIGRATION_DATABASE_URL or DATABASE_URL, in one transaction: a restore
    that fails leaves nothing. Refuses a database that has tables.
    """
    from cookcam.database.dumps import DumpTools, Restored, create_database, restore_dump

    database = database_config(environment(env_file))
    tools = DumpTools(database.tools_directory)

    async def run() -> Restored:
        url = database.owner_url.reveal()
        target = url if name is None else await create_database(url, name)
        return await restore_dump(target, file, tools, overwrite=overwrite)

    result = _run(run)
    rows = sum(result.manifest.rows.values())
    click.echo(
        f"restored {len(result.manifest.rows)} tables and {rows:,} rows of"
        f" {result.manifest.created_at:%Y-%m-%d %H:%M:%S} UTC in {result.seconds:.1f} s;"
        f" the numbers of rows agree; schema {result.manifest.schema_version}"
    )


def _run(work: Callable[[], Awaitable[T]]) -> T:
    import trio

    from cookcam.database.dumps import DumpError

    try:
        return trio.run(work)
    except DumpError as error:
        fail(str(error))
