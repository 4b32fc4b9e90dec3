"""`python -m cookcam.sandbox.stripe`: the fake in a separate process.

So the server that gets its events may be killed and restarted.
"""

from __future__ import annotations

import signal
from pathlib import Path

import click
import orjson
import trio

from cookcam.sandbox.stripe.outbox import Endpoint
from cookcam.sandbox.stripe.server import (
    CONNECT_WEBHOOK_SECRET,
    WEBHOOK_SECRET,
    open_stripe,
)


@click.command()
@click.option("--port", default=0, help="Port to listen on; 0: a free one.")
@click.option("--state", type=click.Path(path_type=Path), help="File that keeps what it knows.")
@click.option("--webhook-url", help="Where events go.")
@click.option("--webhook-secret", default=WEBHOOK_SECRET, help="Signs them; a comma list.")
@click.option("--connect-webhook-url", help="Where events of connected accounts go.")
@click.option("--connect-webhook-secret", default=CONNECT_WEBHOOK_SECRET)
def main(
    port: int,
    state: Path | None,
    webhook_url: str | None,
    webhook_secret: str,
    connect_webhook_url: str | None,
    connect_webhook_secret: str,
) -> None:
    """Prints one line of JSON with its address when it is ready."""
    endpoints: list[Endpoint] = []
    if webhook_url:
        endpoints.append(Endpoint(webhook_url, webhook_secret.split(",")))
    if connect_webhook_url:
        secrets = connect_webhook_secret.split(",")
        endpoints.append(Endpoint(connect_webhook_url, secrets, connect=True))
    trio.run(_run, port, state, endpoints)


async def _run(port: int, state: Path | None, endpoints: list[Endpoint]) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with open_stripe(port=port, state=state, endpoints=endpoints) as stripe:
            click.echo(orjson.dumps({"url": stripe.url, "key": stripe.key}))
            await anext(aiter(signals))


if __name__ == "__main__":
    main()
