"""`cookcam webhooks`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from cookcam.cli.common import ENV_FILE, fail, print_list, with_database

if TYPE_CHECKING:
    from cookcam.database import Database
    from cookcam.features.billing.webhooks.store import WebhookEventStore

T = TypeVar("T")

MAX_LISTED = 100
"""Of each provider."""


@click.group()
def webhooks() -> None:
    """Events of Stripe and the app stores that failed."""


@webhooks.command("list")
@ENV_FILE
def list_failed(env_file: Path | None) -> None:
    """List the failed events, oldest first."""

    async def run(stores: Sequence[WebhookEventStore]) -> list[str]:
        lines: list[str] = []
        for store in stores:
            for event in await store.failed(MAX_LISTED):
                due = event.next_attempt_at
                lines.append(
                    f"{event.provider:<8} {event.event_id} {event.event_type}"
                    f"  received {event.received_at:%Y-%m-%d %H:%M}  {event.attempts} attempts"
                    f"  {'given up' if due is None else f'next {due:%Y-%m-%d %H:%M}'}"
                    f"  {event.error_message or ''}".rstrip()
                )
        return lines

    print_list(_with_stores(env_file, run))


@webhooks.command()
@ENV_FILE
@click.option("--event", "event_id", metavar="ID", help="Only this event, given up or not.")
def retry(env_file: Path | None, event_id: str | None) -> None:
    """Make the events that were given up due again; the running servers process them.

    An event that was processed is never repeated. Exit status 1 when --event names none that
    failed.
    """

    async def run(stores: Sequence[WebhookEventStore]) -> int:
        return sum([await store.requeue(event_id) for store in stores])

    count = _with_stores(env_file, run)
    if event_id is not None and count == 0:
        fail(f"no event {event_id} has failed")
    click.echo(f"{count} {'event' if count == 1 else 'events'} due again")


def _with_stores(
    env_file: Path | None, use: Callable[[Sequence[WebhookEventStore]], Awaitable[T]]
) -> T:
    """Run `use` with the store of each provider's events."""

    def of(database: Database) -> Awaitable[T]:
        from cookcam.features.billing.webhooks.store import webhook_stores

        return use(webhook_stores(database))

    return with_database(env_file, of)
