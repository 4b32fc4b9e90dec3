"""`cookcam notifications`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

import click

from cookcam.cli.common import ENV_FILE, fail, print_list, with_database

if TYPE_CHECKING:
    from cookcam.database import Database
    from cookcam.features.messaging.notifications.queue_store import QueueStore

T = TypeVar("T")

MAX_LISTED = 100


@click.group()
def notifications() -> None:
    """Pushes and mails that failed."""


@notifications.command("list")
@ENV_FILE
def list_failed(env_file: Path | None) -> None:
    """List the failed pushes and mails, oldest first, without their texts and users."""
    print_list(
        f"{one.channel:<8} {one.id} {one.type}"
        f"  created {one.created_at:%Y-%m-%d %H:%M}  {one.attempts} attempts"
        f"  {one.error_message or ''}".rstrip()
        for one in _with_queue(env_file, lambda queue: queue.failed(MAX_LISTED))
    )


@notifications.command()
@ENV_FILE
@click.option("--id", "notification_id", type=click.UUID, help="Only this one.")
def retry(env_file: Path | None, notification_id: UUID | None) -> None:
    """Make the failed pushes and mails due again; the running servers send them.

    One that has expired is sent within the next day. Reminders are not repeated. Exit status 1 when
    --id names none that failed.
    """
    count = _with_queue(env_file, lambda queue: queue.requeue(notification_id))
    if notification_id is not None and count == 0:
        fail(f"no notification {notification_id} has failed")
    click.echo(f"{count} {'notification' if count == 1 else 'notifications'} due again")


def _with_queue(env_file: Path | None, use: Callable[[QueueStore], Awaitable[T]]) -> T:
    def of(database: Database) -> Awaitable[T]:
        from cookcam.features.messaging.notifications.queue_store import QueueStore

        return use(QueueStore(database, []))

    return with_database(env_file, of)
