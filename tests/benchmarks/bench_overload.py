"""Goodput, `/health` and recovery when far more connections read than the server can answer.

    .venv/bin/python -m tests.benchmarks.bench_overload [--seconds 20] [--connections 512 1024]

wrk reads a route that asks the database (the caller's profile), each connection as fast as it is
answered and without any regard for `Retry-After`: in turns on 32 connections, which gives the peak,
and on many. Meanwhile `/health` is read on a new connection every 100 ms. Figures depend on the
machine, which also runs wrk and PostgreSQL; the ratio to the peak just before counts. Where the
machine has other work, the server gets another share of it each time: then the ratio of the answers
to the server's processor time is the one to read.

| column    | what it is                                                           | wanted |
|-----------|----------------------------------------------------------------------|--------|
| good/s    | answers with status 200 a second                                     |        |
| ratio     | good/s to that on 32 connections                                     | >= 0.8 |
| cpu ratio | the same for each second of the server's processor time              | >= 0.8 |
| 503/s     | refusals a second; each has to have a `Retry-After`                  | some   |
| health    | `/health` on a new connection, connecting included: p99 in seconds   | <= 1   |
| recovery  | seconds from the end of the load until a read takes less than 100 ms | <= 2   |
"""

from __future__ import annotations

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path

import psutil
import trio
from attrs import frozen

from cookcam.app.readiness import WARM_UP_DELAY
from tests.support.lean_http import LeanConnection, Rejected, request_bytes
from tests.support.ports import free_ports
from tests.support.sandbox_process import sandbox_process
from tests.support.server_process import ServerProcess, started_server

PATH = "/api/v1/users/profile"
PEAK_CONNECTIONS = 32
WARM_UP_SECONDS = 15.0
HEALTH_INTERVAL = 0.1
FAST = 0.1
"""Seconds a read may take for the server to count as recovered."""
WARM_UP = 2

SCRIPT = """
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init(args)
    good, refused, without, other, times = 0, 0, 0, 0, ""
end
function response(status, headers, body)
    if status == 200 then good = good + 1
    elseif status == 503 then
        refused = refused + 1
        if not headers["Retry-After"] and not headers["retry-after"] then without = without + 1 end
    else other = other + 1 end
end
function done(summary, latency, requests)
    local t = threads[1]
    print(string.format(
        '{"good":%d,"refused":%d,"without_retry_after":%d,"other":%d,"seconds":%f,"errors":%d}',
        t:get("good"), t:get("refused"), t:get("without"), t:get("other"),
        summary.duration / 1e6, summary.errors.connect + summary.errors.read
        + summary.errors.write + summary.errors.timeout))
end
"""


@frozen
class Reads:
    """What wrk counted; per second where it says so."""

    good: float
    rejected: float
    without_retry_after: int
    other: int
    errors: int
    good_per_cpu_second: float


async def wrk(server: ServerProcess, token: str, folder: Path, connections: int, s: int) -> Reads:
    script = folder / "count.lua"
    script.write_text(SCRIPT)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{s}s", "--timeout", "30s", "-s", str(script)]
    command += ["-H", f"Authorization: Bearer {token}", server.url + PATH]
    before = cpu_seconds(server)
    done = await trio.run_process(command, capture_stdout=True)
    used = cpu_seconds(server) - before
    counted = json.loads(done.stdout.decode().splitlines()[-1])
    return Reads(
        counted["good"] / counted["seconds"],
        counted["refused"] / counted["seconds"],
        counted["without_retry_after"],
        counted["other"],
        counted["errors"],
        counted["good"] / used,
    )


def cpu_seconds(server: ServerProcess) -> float:
    times = psutil.Process(server.process.pid).cpu_times()
    return times.user + times.system


async def probe(url: str, token: str | None = None) -> float:
    """Seconds until a new connection has its answer. Raises Refused, OSError."""
    began = trio.current_time()
    headers = {"Authorization": f"Bearer {token}"} if token else None
    async with LeanConnection.open(url) as connection:
        await connection.ask(request_bytes("GET", url, headers))
    return trio.current_time() - began


async def probe_health(server: ServerProcess, seconds: list[float]) -> None:
    """Probes until cancelled; one that is not answered by then counts with what it has waited."""
    async with trio.open_nursery() as nursery:

        async def once() -> None:
            began = trio.current_time()
            try:
                await probe(f"{server.url}/health")
            finally:
                seconds.append(trio.current_time() - began)

        while True:
            nursery.start_soon(once)
            await trio.sleep(HEALTH_INTERVAL)


async def recovery(server: ServerProcess, token: str) -> float:
    began = trio.current_time()
    while True:
        try:
            took = await probe(server.url + PATH, token)
        except Rejected:
            took = FAST
        if took < FAST:
            return trio.current_time() - began
        await trio.sleep(0.02)


async def overload(
    server: ServerProcess, token: str, folder: Path, seconds: int, crowds: list[int]
) -> None:
    await wrk(server, token, folder, PEAK_CONNECTIONS, WARM_UP)
    for connections in crowds:
        peak = await wrk(server, token, folder, PEAK_CONNECTIONS, seconds)
        print(f"{PEAK_CONNECTIONS:5} connections: {peak.good:4.0f} good/s, the peak", flush=True)
        health: list[float] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(probe_health, server, health)
            reads = await wrk(server, token, folder, connections, seconds)
            nursery.cancel_scope.cancel()
        recovered = await recovery(server, token)
        health.sort()
        print(
            f"{connections:5} connections: {reads.good:4.0f} good/s, "
            f"ratio {reads.good / peak.good:4.2f}, "
            f"cpu ratio {reads.good_per_cpu_second / peak.good_per_cpu_second:4.2f}, "
            f"{reads.rejected:.0f} 503/s ({reads.without_retry_after} without Retry-After), "
            f"health {health[int((len(health) - 1) * 0.99)]:.3f} s of {len(health)}, "
            f"recovery {recovered:.2f} s, {reads.other} other answers, {reads.errors} errors",
            flush=True,
        )


async def run(seconds: int, crowds: list[int]) -> None:
    with tempfile.TemporaryDirectory(prefix="cookcam-bench-") as name:
        folder = Path(name)
        with sandbox_process(folder / "home") as sandbox:
            settings = {**sandbox.settings, "ENABLE_RATE_LIMITING": "false"}
            [port] = free_ports(1)
            async with started_server(settings, port, folder) as server:
                await server.ready()
                # The warm-up imports libraries for some seconds of processor time.
                await trio.sleep(WARM_UP_DELAY + WARM_UP_SECONDS)
                token = sandbox.sign_in()["access_token"]
                await overload(server, token, folder, seconds, crowds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--connections", type=int, nargs="+", default=[512, 1024])
    options = parser.parse_args()
    trio.run(partial(run, options.seconds, options.connections))


if __name__ == "__main__":
    main()
