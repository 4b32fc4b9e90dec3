"""`cookcam migrate`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cookcam.cli.common import ENV_FILE, database_config, environment, fail


@click.command()
@ENV_FILE
@click.option("--check", is_flag=True, help="Only list what is pending; exit status 1 if any.")
def migrate(env_file: Path | None, check: bool) -> None:
    """Bring the schema up to date, as the login of MIGRATION_DATABASE_URL or DATABASE_URL."""
    database = database_config(environment(env_file))
    import trio

    from cookcam.database.migrate import MigrationError, pending
    from cookcam.database.migrate import migrate as apply

    url = database.owner_url.reveal()
    try:
        names = trio.run(pending if check else apply, url)
    except MigrationError as error:
        fail(str(error))
    for name in names:
        click.echo(f"{'pending' if check else 'applied'} {name}")
    if not names:
        click.echo("the schema is up to date")
    sys.exit(1 if check and names else 0)
