"""The commands. Each imports what it needs and no more: a mistake in the environment is told
before the server is even loaded."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
from attrs import evolve

from cookcam import __version__
from cookcam.config import (
    Config,
    ConfigError,
    Mistake,
    load,
    load_database,
    read_environment,
    without_effect,
)

if TYPE_CHECKING:
    from cookcam.connections import Connection

ENV_FILE = click.option(
    "--env-file",
    type=click.Path(path_type=Path),
    help="Settings of this file; the environment wins over it.",
)
HOME = click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".cookcam"),
    show_default=True,
    help="Where the sandbox keeps its data.",
)
PORT = click.option(
    "--port",
    type=click.IntRange(0, 65535),
    envvar="PORT",
    default=3000,
    show_default=True,
    show_envvar=True,
    help="Port of the API; 0 takes a free one.",
)
HOST = click.option(
    "--host",
    envvar="HOST",
    default="127.0.0.1",
    show_default=True,
    show_envvar=True,
    help="Address of the API; 0.0.0.0 for phones and emulators of the same network.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cookcam")
def main() -> None:
    """The CookCam API server."""


@main.command()
@ENV_FILE
def serve(env_file: Path | None) -> None:
    """Serve the API until SIGTERM or SIGINT, then drain."""
    # Until the tree is there to drain, nothing is open: the signal itself is the end, no traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(_run_server(_environment(env_file)))


@main.command()
@HOST
@PORT
@HOME
def dev(host: str, port: int, home: Path) -> None:
    """Serve the API on the embedded default: no account and no settings are needed."""
    environ = _environment(None)
    if environ.get("APP_ENV") in ("staging", "production"):
        _fail("cookcam dev is for development: it refuses to run in staging or production")
    from cookcam.sandbox.dev import run_dev
    from cookcam.sandbox.errors import SandboxError

    try:
        status = run_dev(
            home, host, port, {**environ, "HOST": host}, serve=_run_server, say=click.echo
        )
    except SandboxError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(status)


@main.command()
@HOST
@PORT
@HOME
@click.option("--attached", is_flag=True, hidden=True, help="Stop at the end of standard input.")
def sandbox(host: str, port: int, home: Path, attached: bool) -> None:
    """Run only the database and the stand-ins, for servers that are started apart."""
    from cookcam.sandbox.command import run_sandbox

    sys.exit(
        run_sandbox(
            home,
            host,
            port,
            attached=attached,
            say=click.echo,
            fail=lambda line: click.echo(line, err=True),
        )
    )


@main.command()
@ENV_FILE
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
@click.option("--connect", is_flag=True, help="Also log in to the database and every provider.")
def check_env(env_file: Path | None, as_json: bool, connect: bool) -> None:
    """Check the environment as `serve` does; values are never shown. Exit status 1 on mistakes.

    With --connect also 1 when the database or a provider cannot be used. Nothing is changed there.
    """
    from cookcam.checking import check

    environ = _environment(env_file)
    report = check(environ)
    if connect and not report.mistakes:
        report = evolve(report, connections=_tried_connections(environ))
    click.echo(report.json() if as_json else report.text())
    if connect and report.mistakes:
        click.echo("nothing was connected to: correct the settings first", err=True)
    sys.exit(0 if report.good else 1)


@main.command()
@ENV_FILE
@click.option("--check", is_flag=True, help="Only list what is pending; exit status 1 if any.")
def migrate(env_file: Path | None, check: bool) -> None:
    """Bring the schema up to date, as the login of MIGRATION_DATABASE_URL or DATABASE_URL."""
    try:
        database = load_database(_environment(env_file))
    except ConfigError as error:
        _fail_with(error.mistakes)
    import trio

    from cookcam.database.migrate import MigrationError, pending
    from cookcam.database.migrate import migrate as apply

    url = (database.migration_url or database.url).reveal()
    try:
        names = trio.run(pending if check else apply, url)
    except MigrationError as error:
        _fail(str(error))
    for name in names:
        click.echo(f"{'pending' if check else 'applied'} {name}")
    if not names:
        click.echo("the schema is up to date")
    sys.exit(1 if check and names else 0)


@main.command()
@ENV_FILE
def reconcile(env_file: Path | None) -> None:
    """Compare all subscriptions with their providers now, and correct what differs.

    Opens no port. Goes on where an interrupted run was. Exit status 1 when it failed or went over a
    threshold; 0 also while another process is at it.
    """
    config = _config(_environment(env_file))
    from cookcam.assembly import open_reconciling
    from cookcam.features.reconciliation.command import run_reconcile

    sys.exit(run_reconcile(config, open_reconciling, click.echo))


@main.group()
def usda() -> None:
    """The food data of USDA FoodData Central."""


@usda.command("import")
@ENV_FILE
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def usda_import(env_file: Path | None, file: Path) -> None:
    """Load a download of FoodData Central, CSV or JSON, into the ingredients.

    After an interruption the same command goes on where it was. Rows that cannot be used are
    told with their line and left out.
    """
    try:
        database = load_database(_environment(env_file))
    except ConfigError as error:
        _fail_with(error.mistakes)
    from cookcam.features.ingredients.importing.command import run_import

    sys.exit(run_import(database.url.reveal(), file))


@main.command()
def openapi() -> None:
    """Print the OpenAPI document of the API."""
    import structlog
    import trio

    from cookcam.openapi_document import openapi_document

    structlog.configure(
        logger_factory=structlog.ReturnLoggerFactory()
    )  # the output is the document
    click.echo(trio.run(openapi_document))


@main.command(hidden=True)
def env_example() -> None:
    """Print the text of .env.example."""
    from cookcam.env_example import env_example as text

    click.echo(text(), nl=False)


def _tried_connections(environ: Mapping[str, str]) -> list[Connection]:
    import structlog
    import trio

    from cookcam.connections import try_connections

    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # the output is the report
    return trio.run(try_connections, load(environ))


def _environment(env_file: Path | None) -> dict[str, str]:
    try:
        return read_environment(env_file)
    except ConfigError as error:
        _fail_with(error.mistakes)


def _config(environ: Mapping[str, str]) -> Config:
    try:
        return load(environ)
    except ConfigError as error:
        _fail_with(error.mistakes)


def _run_server(environ: Mapping[str, str], on_started: Callable[[], None] | None = None) -> int:
    config = _config(environ)  # before the imports: a mistake is reported at once
    from cookcam.process import run_server

    return run_server(config, without_effect(environ), on_started)


def _fail_with(mistakes: list[Mistake]) -> NoReturn:
    for mistake in mistakes:
        click.echo(str(mistake), err=True)
    sys.exit(1)


def _fail(words: str) -> NoReturn:
    click.echo(" ".join(words.split()), err=True)  # PostgreSQL's come on several lines
    sys.exit(1)
