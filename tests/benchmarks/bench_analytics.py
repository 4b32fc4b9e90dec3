"""Reads beside 5,000 analytics events a second, and SIGTERM in the middle of them.

    .venv/bin/python -m tests.benchmarks.bench_analytics [--seconds 60] [--events 5000] [--reads 50]

A server on a sandbox answers READS profile reads a second, which leave on their own time: alone,
then beside batches of 100 events. A latency is measured from the time at which the read was due.
Then the server gets SIGTERM while events go on, and every acknowledged batch is looked up in the
database.

| column | what it is                                              | wanted |
|--------|---------------------------------------------------------|--------|
| ratio  | p99 of the reads beside events to that of reads alone   | <= 1.2 |
| lost   | acknowledged batches that are not stored exactly once   | 0      |
"""

from __future__ import annotations

import argparse
import math
import signal
import tempfile
from functools import partial
from pathlib import Path

import trio

from cookcam.app.readiness import WARM_UP_DELAY
from tests.support.event_load import EventLoad
from tests.support.lean_http import LeanConnection, request_bytes
from tests.support.ports import free_ports
from tests.support.sandbox_process import sandbox_process
from tests.support.server_process import started_server

BATCH = 100
CONNECTIONS = 16
WARM_UP_SECONDS = 15.0


async def read(url: str, token: str, rate: float, seconds: float) -> list[float]:
    """The latencies of reads that were due `rate` a second, sorted."""
    request = request_bytes("GET", url, {"Authorization": f"Bearer {token}"})
    latencies: list[float] = []
    sender, turns = trio.open_memory_channel[float](math.inf)

    async def on_one_connection() -> None:
        async with LeanConnection.open(url) as connection:
            async for due in turns:
                await connection.ask(request)
                latencies.append(trio.current_time() - due)

    async with trio.open_nursery() as nursery:
        for _ in range(CONNECTIONS):
            nursery.start_soon(on_one_connection)
        began = trio.current_time()
        async with sender:
            for number in range(int(rate * seconds)):
                await trio.sleep_until(began + number / rate)
                await sender.send(began + number / rate)
    return sorted(latencies)


def percentile(values: list[float], share: float) -> float:
    return values[int((len(values) - 1) * share)] * 1000


async def run(seconds: int, events: int, reads: float) -> None:
    with tempfile.TemporaryDirectory(prefix="cookcam-bench-") as name:
        folder = Path(name)
        with sandbox_process(folder / "home") as sandbox:
            settings = {**sandbox.settings, "ENABLE_RATE_LIMITING": "false"}
            [port] = free_ports(1)
            async with started_server(settings, port, folder) as server:
                await server.ready()
                await trio.sleep(WARM_UP_DELAY + WARM_UP_SECONDS)
                token = sandbox.sign_in()["access_token"]
                url = f"{server.url}/api/v1/users/profile"
                await read(url, token, reads, 5)
                alone = await read(url, token, reads, seconds)
                load = EventLoad(server.url, token, BATCH)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(load.run, events / BATCH)
                    await trio.sleep(1)
                    began, before = trio.current_time(), len(load.acknowledged)
                    beside = await read(url, token, reads, seconds)
                    rate = (len(load.acknowledged) - before) / (trio.current_time() - began)
                    server.signal(signal.SIGTERM)
                    status = await server.ended()
                    nursery.cancel_scope.cancel()
                lost = load.lost_or_doubled(sandbox)
    for label, latencies in (("alone", alone), ("beside events", beside)):
        print(
            f"{label:14} {len(latencies)} reads, p50 {percentile(latencies, 0.5):.1f} ms, "
            f"p99 {percentile(latencies, 0.99):.1f} ms"
        )
    ratio = percentile(beside, 0.99) / percentile(alone, 0.99)
    print(f"{rate * BATCH:.0f} events/s acknowledged, ratio of p99 {ratio:.2f}")
    print(f"SIGTERM: status {status}, {len(load.acknowledged)} batches acknowledged, {lost=}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--reads", type=float, default=50)
    options = parser.parse_args()
    trio.run(partial(run, options.seconds, options.events, options.reads))


if __name__ == "__main__":
    main()
