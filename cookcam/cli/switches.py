"""`cookcam maintenance` and `cookcam read-only`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from cookcam.cli.common import ENV_FILE, with_database
from cookcam.lifecycle.mode import DEFAULT_RETRY_AFTER

if TYPE_CHECKING:
    from cookcam.database import Database
    from cookcam.features.operations.switches.store import SwitchName, SwitchStore

T = TypeVar("T")


def _switch(command: str, name: SwitchName, about: str) -> click.Group:
    group = click.Group(command, help=about)

    @group.command("on", help="Switch it on, for all instances within two seconds.")
    @ENV_FILE
    @click.option(
        "--retry-after",
        type=click.IntRange(1, 86_400),
        metavar="SECONDS",
        default=DEFAULT_RETRY_AFTER,
        show_default=True,
        help="When clients should try again.",
    )
    def turn_on(env_file: Path | None, retry_after: int) -> None:
        _with_store(env_file, lambda store: store.turn_on(name, retry_after))
        click.echo(f"{command} is on; Retry-After {retry_after} s")

    @group.command("off", help="Switch it off, for all instances within two seconds.")
    @ENV_FILE
    def turn_off(env_file: Path | None) -> None:
        _with_store(env_file, lambda store: store.turn_off(name))
        click.echo(f"{command} is off")

    @group.command(help="Print whether it is on.")
    @ENV_FILE
    def status(env_file: Path | None) -> None:
        for switch in _with_store(env_file, lambda store: store.read()):
            if switch.name == name:
                since = f"since {switch.since:%Y-%m-%d %H:%M:%S} UTC"
                click.echo(f"{command} is on {since}; Retry-After {switch.retry_after} s")
                return
        click.echo(f"{command} is off")

    return group


maintenance = _switch(
    "maintenance",
    "maintenance",
    "Maintenance mode: requests and sockets are rejected with 503; probes and webhooks are served.",
)
read_only = _switch(
    "read-only", "read_only", "Read-only mode: reads are served, changes are rejected with 503."
)


def _with_store(env_file: Path | None, use: Callable[[SwitchStore], Awaitable[T]]) -> T:
    def of(database: Database) -> Awaitable[T]:
        from cookcam.features.operations.switches.store import SwitchStore

        return use(SwitchStore(database))

    return with_database(env_file, of)
