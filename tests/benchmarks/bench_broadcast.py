"""Broadcasts to many sockets: how late and how many, directly written against the ordinary way.

    .venv/bin/python -m tests.benchmarks.bench_broadcast
    .venv/bin/python -m tests.benchmarks.bench_broadcast --node FOLDER    # npm i socket.io there

Steady: 1,000 sockets, 20 broadcasts a second. Burst: 50 broadcasts at once to 200 sockets. Each
server is a process of its own, as are the clients; all take their turn in every round, so that
whatever else the machine does weighs on all of them. Best of the rounds, and all of them in
brackets: on a shared machine the best is the least disturbed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

HERE = Path(__file__).parent
SOCKETS_PER_USER = 5


@frozen
class Talker:
    """A process that receives and sends lines of JSON."""

    process: subprocess.Popen[str]

    def ask(self, **command: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self.hear()

    def hear(self) -> dict[str, Any]:
        return json.loads(self.line())

    def end(self) -> float:
        """Has it end by itself; returns the seconds of CPU of its whole life."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        _, status, used = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        if self.process.returncode:
            raise SystemExit(f"{self.process.args} has failed")
        return used.ru_utime + used.ru_stime

    def line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args} has ended")
        return line


@contextmanager
def started(command: list[str]) -> Iterator[Talker]:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Talker(process)
    finally:
        process.kill()
        process.wait()


@contextmanager
def crowd(server: Talker, port: int, count: int, *options: str) -> Iterator[Talker]:
    """Clients, all of them connected."""
    tokens = server.ask(tokens=1 + count // SOCKETS_PER_USER)["tokens"]
    command = [sys.executable, "-m", "tests.support.socket_crowd", str(port), str(count), *options]
    with started(command) as clients:
        assert clients.process.stdin is not None
        clients.process.stdin.write("\n".join(tokens))
        clients.process.stdin.close()
        assert clients.line() == f"connected {count}\n"
        yield clients


def load(
    talker: Talker, port: int, clients: int, broadcasts: int, per_second: float, *options: str
) -> dict[str, Any]:
    """What the clients received, and the seconds of CPU the server took for it."""
    with crowd(talker, port, clients, *options) as them:
        talker.ask(broadcasts=20, per_second=20)  # warms up
        talker.ask(report=True)
        them.hear()
        used = talker.ask(broadcasts=broadcasts, per_second=per_second)["cpu"]
        talker.ask(report=True)
        figures = them.hear()
        if figures["deliveries"] != clients * broadcasts:
            raise SystemExit(f"{figures['deliveries']} of {clients * broadcasts} arrived")
        return {**figures, "cpu": used}


def contenders(node: str | None) -> dict[str, tuple[list[str], list[str]]]:
    """Commands of the servers, and the options of their clients."""
    ours = [sys.executable, "-m", "tests.benchmarks.bench_broadcast_server"]
    found: dict[str, tuple[list[str], list[str]]] = {
        "Socket.IO, direct": (ours, []),
        "plain, direct": (ours, ["--plain"]),
        "Socket.IO, ordinary": ([*ours, "--ordinary"], []),
        "plain, ordinary": ([*ours, "--ordinary"], ["--plain"]),
    }
    if node is not None:
        script = str(HERE / "bench_broadcast_server.mjs")
        found["Socket.IO on Node"] = (["node", script, str(Path(node).resolve())], [])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sockets", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rate", type=int, default=20)
    parser.add_argument("--burst-sockets", type=int, default=200)
    parser.add_argument("--burst", type=int, default=50)
    parser.add_argument("--node", help="folder whose node_modules has socket.io")
    options = parser.parse_args()
    steady: dict[str, list[dict[str, Any]]] = {}
    burst: dict[str, list[dict[str, Any]]] = {}
    for _ in range(options.rounds):
        for name, (command, clients) in contenders(options.node).items():
            with started(command) as talker:
                port = talker.hear()["port"]
                count = options.seconds * options.rate
                steady.setdefault(name, []).append(
                    load(talker, port, options.sockets, count, options.rate, *clients)
                )
            with started(command) as talker:
                port = talker.hear()["port"]
                burst.setdefault(name, []).append(
                    load(talker, port, options.burst_sockets, options.burst, 0, *clients)
                )
    show(options, steady, burst)


def show(
    options: argparse.Namespace,
    steady: dict[str, list[dict[str, Any]]],
    burst: dict[str, list[dict[str, Any]]],
) -> None:
    print(f"{options.sockets} sockets, {options.rate} broadcasts/s: delivery time at the client")
    for name, runs in steady.items():
        best = min(runs, key=lambda run: run["p99"])
        all_p99 = ", ".join(f"{run['p99']:.1f}" for run in runs)
        share = best["cpu"] / options.seconds
        print(
            f"  {name:20} p50 {best['p50']:6.1f} ms  p99 {best['p99']:6.1f} ms  "
            f"server {share:4.0%} of a core  [p99 {all_p99}]"
        )
    print(f"{options.burst} broadcasts at once to {options.burst_sockets} sockets")
    rates = {
        name: [run["deliveries"] / run["seconds"] for run in runs] for name, runs in burst.items()
    }
    for name, found in rates.items():
        print(f"  {name:20} {max(found):9,.0f}/s  [{', '.join(f'{rate:,.0f}' for rate in found)}]")
    for protocol in ("Socket.IO", "plain"):
        direct, ordinary = (max(rates[f"{protocol}, {way}"]) for way in ("direct", "ordinary"))
        print(f"  {protocol}: direct is {direct / ordinary:.1f} times the ordinary way")


if __name__ == "__main__":
    main()
