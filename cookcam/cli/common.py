"""Options, configuration and error output shared by the commands."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import click

from cookcam.config import (
    Config,
    ConfigError,
    DatabaseConfig,
    Mistake,
    load,
    load_database,
    read_environment,
)

if TYPE_CHECKING:
    from cookcam.database import Database

T = TypeVar("T")

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


def environment(env_file: Path | None) -> dict[str, str]:
    """The process environment over `env_file`. Exits with status 1 when the file cannot be read."""
    try:
        return read_environment(env_file)
    except ConfigError as error:
        exit_with(error.mistakes)


def config_of(environ: Mapping[str, str]) -> Config:
    """The configuration in `environ`. Prints every mistake and exits with status 1."""
    try:
        return load(environ)
    except ConfigError as error:
        exit_with(error.mistakes)


def database_config(environ: Mapping[str, str]) -> DatabaseConfig:
    """The database section alone, for commands that need nothing else. Exits like `config_of`."""
    try:
        return load_database(environ)
    except ConfigError as error:
        exit_with(error.mistakes)


def with_database(env_file: Path | None, use: Callable[[Database], Awaitable[T]]) -> T:
    """Run `use` with the open database of the settings, without log lines. Exits with status 1
    when the database does not answer."""
    config = database_config(environment(env_file))
    import structlog
    import trio

    from cookcam.database import Database
    from cookcam.errors import AppError

    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # the output is the result

    async def run() -> T:
        async with Database.open(config, must_connect=True) as database:
            return await use(database)

    try:
        return trio.run(run)
    except AppError as error:
        fail(f"the database does not answer: {error.code}")


def print_list(lines: Iterable[str]) -> None:
    """Print one line for each entry, or "none"."""
    click.echo("\n".join(lines) or "none")


def exit_with(mistakes: list[Mistake]) -> NoReturn:
    for mistake in mistakes:
        click.echo(str(mistake), err=True)
    sys.exit(1)


def fail(message: str) -> NoReturn:
    """Print `message` on one line (PostgreSQL's come on several) and exit with status 1."""
    click.echo(" ".join(message.split()), err=True)
    sys.exit(1)
