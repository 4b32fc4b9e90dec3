"""How fast Stripe's events are acknowledged: alone, and while the API is busy.

    python -m tests.benchmarks.bench_webhooks [--rate 200] [--seconds 10]

Events leave at a fixed rate, each on its own time, whether or not the ones before were answered, so
that a slow answer delays none of the others. They are those of subscriptions that are bought and
renewed, in Stripe's mix: some change a row, most only have to be stored. Figures depend on the
machine, which also runs the load, PostgreSQL and the stand-in; the ratio says something.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import orjson
import trio

from cookcam.providers.stripe import Stripe
from cookcam.sandbox.stripe import StripeStandIn, open_stripe
from cookcam.sandbox.stripe.behaviour import DAY
from cookcam.sandbox.stripe.post import signature
from cookcam.settings.readers import Secret
from tests.identity.project import open_project
from tests.support.ports import free_ports
from tests.support.postgres import TEMPLATE, start_cluster
from tests.support.server_process import started_server
from tests.support.users import create_user
from tests.support.whole_server import environment

SECRET = "whsec_bench"
READERS = 4
"""Connections that read the API as fast as it answers, when it is busy."""


async def live(stripe: StripeStandIn, url: str, database_url: str, events: int) -> list[Any]:
    """Events of people who buy and renew."""
    made: list[str] = []
    async with Stripe.open(secret_key=Secret(stripe.key), api_base=url) as client:
        while len(stripe.events) < events:
            if len(made) < 60:
                session = await client.create_checkout_session(
                    user_id=await create_user(database_url),
                    tier_id=2,
                    tier_name="Regular",
                    amount_cents=399,
                    interval="month",
                    success_url="https://cookcam.app/",
                    cancel_url="https://cookcam.app/",
                    idempotency_key=f"bench-{len(made)}",
                )
                made.append(str(stripe.pay(session.id)["subscription"]))
                stripe.advance(5)
            else:
                stripe.advance(31 * DAY)
    return stripe.events[:events]


async def post_all(url: str, events: Sequence[Any], rate: float) -> list[float]:
    """Seconds until each was acknowledged; one that was not is an error."""
    waits: list[float] = []
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)

    async def one(http: httpx.AsyncClient, event: Any, due: float) -> None:
        body = orjson.dumps(event)
        signed = {"Stripe-Signature": signature(body, [SECRET], int(time.time()))}
        answer = await http.post(url, content=body, headers=signed)
        if answer.status_code != 200:
            raise AssertionError(answer.text)
        waits.append(trio.current_time() - due)

    async with (
        httpx.AsyncClient(timeout=30, limits=limits, trust_env=False) as http,
        trio.open_nursery() as nursery,
    ):
        began = trio.current_time() + 0.1
        for number, event in enumerate(events):
            due = began + number / rate
            await trio.sleep_until(due)
            nursery.start_soon(one, http, event, due)
    return waits


async def read(url: str, answered: list[float]) -> None:
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        while True:
            began = trio.current_time()
            (await http.get(f"{url}/api/v1/recipes?limit=5")).raise_for_status()
            answered.append(trio.current_time() - began)


def percentile(waits: Sequence[float], share: float) -> float:
    """Milliseconds."""
    ordered = sorted(waits)
    return ordered[int((len(ordered) - 1) * share)] * 1000


async def run(database_url: str, folder: Path, rate: float, seconds: float) -> None:
    count = int(rate * seconds)
    async with AsyncExitStack() as stack:
        gotrue = await stack.enter_async_context(open_project(database_url))
        stripe = await stack.enter_async_context(open_stripe())
        events = await live(stripe, stripe.url, database_url, count * 2 + 20)
        settings = environment(
            database_url,
            gotrue,
            STRIPE_SECRET_KEY=stripe.key,
            STRIPE_API_BASE=stripe.url,
            STRIPE_WEBHOOK_SECRET=SECRET,
        )
        [port] = free_ports(1)
        server = await stack.enter_async_context(started_server(settings, port, folder))
        await server.ready()
        webhook = f"{server.url}/api/v1/subscription/webhook/stripe"
        await post_all(webhook, events[:20], 20)  # imports, connections
        asked = len(stripe.requests)
        gc.freeze()  # this process's own pauses are not what is measured
        quiet = await post_all(webhook, events[20 : count + 20], rate)
        answered: list[float] = []
        async with trio.open_nursery() as nursery:
            for _ in range(READERS):
                nursery.start_soon(read, server.url, answered)
            began = trio.current_time()
            busy = await post_all(webhook, events[count + 20 :], rate)
            took = trio.current_time() - began
            nursery.cancel_scope.cancel()
        for name, waits in (("quiet", quiet), ("with a busy API", busy)):
            figures = "  ".join(
                f"p{share * 100:g} {percentile(waits, share):.1f} ms" for share in (0.5, 0.95, 0.99)
            )
            sys.stdout.write(f"{rate:.0f} webhooks/s, {name:<18}{figures}\n")
        ratio = percentile(busy, 0.99) / percentile(quiet, 0.99)
        sys.stdout.write(
            f"p99 busy / quiet {ratio:.1f}; {len(answered) / took:.0f} reads/s besides;"
            f" {len(stripe.requests) - asked} requests to Stripe for"
            f" {len(quiet) + len(busy)} events\n"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=10)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cluster = start_cluster(folder / "postgres")
        with cluster.temporary(TEMPLATE) as name:
            trio.run(run, cluster.url(name, "cookcam_app"), folder, asked.rate, asked.seconds)


if __name__ == "__main__":
    main()
