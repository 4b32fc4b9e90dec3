"""`cookcam blocklist`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from cookcam.cli.common import ENV_FILE, fail, print_list, with_database

if TYPE_CHECKING:
    from cookcam.features.operations.security.blocklist import BlocklistStore, Target

T = TypeVar("T")

DEFAULT_HOURS = 24
MAX_HOURS = 24 * 366


@click.group()
def blocklist() -> None:
    """Addresses, networks and users that are denied access."""


@blocklist.command()
@ENV_FILE
@click.argument("target")
@click.option("--reason", required=True, help="Shown by `cookcam blocklist list` only.")
@click.option(
    "--hours",
    type=click.IntRange(1, MAX_HOURS),
    default=DEFAULT_HOURS,
    show_default=True,
    help="Hours until the entry expires.",
)
@click.option("--permanent", is_flag=True, help="The entry does not expire.")
def add(env_file: Path | None, target: str, reason: str, hours: int, permanent: bool) -> None:
    """Deny access to TARGET: an address, a network such as 203.0.113.0/24, or a user's id.

    The running instances apply it within seconds, and close the sockets of TARGET.
    """
    parsed = _parse(target)
    if not 1 <= len(reason) <= 500:
        fail("the reason must have 1 to 500 characters")
    if not _with_store(
        env_file, lambda store: store.add(parsed, reason, None if permanent else hours)
    ):
        fail(f"there is no user {parsed}")
    click.echo(f"{parsed} is denied access {'' if permanent else f'for {hours} hours'}".rstrip())


@blocklist.command()
@ENV_FILE
@click.argument("target")
def remove(env_file: Path | None, target: str) -> None:
    """Give access back to TARGET. Exit status 1 when it is not on the list."""
    parsed = _parse(target)
    if not _with_store(env_file, lambda store: store.remove(parsed)):
        fail(f"{parsed} is not on the list")
    click.echo(f"{parsed} has access again")


@blocklist.command("list")
@ENV_FILE
def list_blocks(env_file: Path | None) -> None:
    """List the entries in force, oldest first."""
    lines: list[str] = []
    for block in _with_store(env_file, lambda store: store.current()):
        until = f"until {block.expires_at:%Y-%m-%d %H:%M}" if block.expires_at else "permanent"
        since = f"since {block.created_at:%Y-%m-%d %H:%M}"
        lines.append(f"{block.target}  {since}  {until}  {block.reason}")
    print_list(lines)


def _parse(text: str) -> Target:
    from cookcam.features.operations.security.blocklist import parse_target

    try:
        return parse_target(text)
    except ValueError as error:
        fail(str(error))


def _with_store(env_file: Path | None, use: Callable[[BlocklistStore], Awaitable[T]]) -> T:
    from cookcam.features.operations.security.blocklist import BlocklistStore

    return with_database(env_file, lambda database: use(BlocklistStore(database)))
