"""How fast Stripe's events are acknowledged: alone, beside a loaded API, beside a saturated one.

    python -m tests.benchmarks.bench_webhooks [--rate 200] [--seconds 10] [--share 0.5]

Events leave at a fixed rate, each on its own time, whether or not the ones before were answered, so
that a slow answer delays none of the others. They are those of subscriptions that are bought and
renewed, in Stripe's mix: some change a row, most only have to be stored.

| stage     | what else the server does                                                            |
|-----------|--------------------------------------------------------------------------------------|
| quiet     | nothing                                                                              |
| loaded    | reads of the API, `--share` of as many as it answers when it does nothing else; they |
|           | leave at a fixed rate as well                                                        |
| saturated | reads of the API on `READERS` connections as fast as they are answered: the core is  |
|           | full whatever it does, and whatever is in line waits for the others                  |

The reads come from a process of their own (`tests.support.read_load`), so that only the machine's
cores are shared and no event waits in this process for its turn to leave.

Figures depend on the machine, which also runs the load, PostgreSQL and the fake Stripe; the ratios
to the quiet server, and the processor's time for an event, say something.
"""

from __future__ import annotations

import argparse
import gc
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson
import trio
from attrs import define

from cookcam.app.readiness import WARM_UP_DELAY
from cookcam.config.readers import Secret
from cookcam.integrations.stripe import Stripe
from cookcam.sandbox.stripe import FakeStripe, open_stripe
from cookcam.sandbox.stripe.behaviour import DAY
from cookcam.sandbox.stripe.outbox import signature
from tests.identity.project import open_project
from tests.support.lean_http import LeanConnection, request_bytes
from tests.support.ports import free_ports
from tests.support.postgres import TEMPLATE, start_cluster
from tests.support.server_process import ServerProcess, started_server
from tests.support.users import create_user
from tests.support.whole_server import environment

SECRET = "whsec_bench"
READERS = 4
"""Connections that read the API as fast as it answers, when it is saturated."""
CONNECTIONS = 50
"""Of those that post, or read, at a rate: so many may be waiting for an answer."""
WARM = 60
SETTLE = 2.0
"""Seconds for the process that reads to start and connect, which takes a core of its own."""


async def live(stripe: FakeStripe, url: str, database_url: str, events: int) -> list[Any]:
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
    """Seconds from the moment each was due until it was acknowledged. Raises Refused."""
    requests: list[bytes] = []
    for event in events:
        body = orjson.dumps(event)
        signed = {"Stripe-Signature": signature(body, [SECRET], int(time.time()))}
        requests.append(request_bytes("POST", url, signed, body))
    waits: list[float] = []
    sender, due_now = trio.open_memory_channel[tuple[float, bytes]](math.inf)

    async def post() -> None:
        async with LeanConnection.open(url) as connection:
            async for due, request in due_now:
                await connection.ask(request)
                waits.append(trio.current_time() - due)

    async with trio.open_nursery() as nursery:
        for _ in range(CONNECTIONS):
            nursery.start_soon(post)
        began = trio.current_time() + 0.1
        async with sender:
            for number, request in enumerate(requests):
                due = began + number / rate
                await trio.sleep_until(due)
                await sender.send((due, request))
    return waits


class Reads:
    """Reads of the API from a process of their own: `rate` a second, or as fast as answered."""

    def __init__(self, url: str, rate: float | None = None) -> None:
        address = f"{url}/api/v1/recipes?limit=5"
        pace = [str(READERS)] if rate is None else [str(CONNECTIONS), str(rate)]
        command = [sys.executable, "-m", "tests.support.read_load", address, *pace]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    async def end(self) -> float:
        """How many were answered a second."""
        out, _ = await trio.to_thread.run_sync(self._process.communicate)
        if self._process.returncode:
            raise SystemExit("a read was not answered")
        return float(out)


async def capacity(url: str, seconds: float) -> float:
    """Reads a second of a server that does nothing else."""
    reads = Reads(url)
    await trio.sleep(seconds)
    return await reads.end()


def processor_seconds(pid: int) -> float:
    """What a process has used up to now, on all of its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def percentile(waits: Sequence[float], share: float) -> float:
    """Milliseconds."""
    ordered = sorted(waits)
    return ordered[int((len(ordered) - 1) * share)] * 1000


@define
class Bench:
    """A server, and events that it has not seen."""

    server: ServerProcess
    events: Sequence[Any]
    rate: float

    async def stage(self, name: str, count: int, reads: Reads | None = None) -> float:
        """Posts `count` events beside `reads`; prints the figures, returns the p99 in ms."""
        taken, self.events = self.events[:count], self.events[count:]
        await trio.sleep(SETTLE if reads else 0)
        began, used = trio.current_time(), processor_seconds(self.server.process.pid)
        waits = await post_all(self.webhook, taken, self.rate)
        took = trio.current_time() - began
        used = processor_seconds(self.server.process.pid) - used
        figures = "  ".join(
            f"p{share * 100:g} {percentile(waits, share):.1f} ms" for share in (0.5, 0.95, 0.99)
        )
        busy = f"{used / took:.0%} of a core"
        beside = (
            f"beside {await reads.end():.0f} reads/s"
            if reads
            else f"{used / count * 1000:.2f} ms of the processor for an event"
        )
        sys.stdout.write(f"{name:<10}{figures}  {busy}  {beside}\n")
        return percentile(waits, 0.99)

    @property
    def webhook(self) -> str:
        return f"{self.server.url}/api/v1/subscription/webhook/stripe"


async def run(database_url: str, folder: Path, rate: float, seconds: float, share: float) -> None:
    count = int(rate * seconds)
    async with AsyncExitStack() as stack:
        gotrue = await stack.enter_async_context(open_project(database_url))
        stripe = await stack.enter_async_context(open_stripe())
        events = await live(stripe, stripe.url, database_url, count * 3 + WARM)
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
        bench = Bench(server, events[WARM:], rate)
        await trio.sleep(WARM_UP_DELAY + 5)  # after the late imports
        await post_all(bench.webhook, events[:WARM], 20)  # connections, plans of statements
        most = await capacity(server.url, max(2.0, seconds / 2))
        sys.stdout.write(f"{rate:.0f} webhooks/s; the API alone answers {most:.0f} reads/s\n")
        requested = len(stripe.requests)
        gc.freeze()  # this process's own pauses are not what is measured
        quiet = await bench.stage("quiet", count)
        loaded = await bench.stage("loaded", count, Reads(server.url, most * share))
        saturated = await bench.stage("saturated", count, Reads(server.url))
        sys.stdout.write(
            f"p99 loaded / quiet {loaded / quiet:.1f}; saturated / quiet {saturated / quiet:.1f};"
            f" {len(stripe.requests) - requested} requests to Stripe for {count * 3} events\n"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--share", type=float, default=0.5)
    requested = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cluster = start_cluster(folder / "postgres")
        with cluster.temporary(TEMPLATE) as name:
            url = cluster.url(name, "cookcam_app")
            trio.run(run, url, folder, requested.rate, requested.seconds, requested.share)


if __name__ == "__main__":
    main()
