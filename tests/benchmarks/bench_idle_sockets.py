"""Sockets that say nothing: the memory of each, the CPU of all, and how they are drained.

    .venv/bin/python -m tests.benchmarks.bench_idle_sockets                      # 2,000 for 10 s
    .venv/bin/python -m tests.benchmarks.bench_idle_sockets --sockets 10000 --seconds 60

The server is kept to one core. It is a process of its own, as are the clients, which answer pings
and closes at once.
"""

from __future__ import annotations

import argparse
import sys

from tests.benchmarks.bench_broadcast import crowd, started
from tests.support.socket_crowd import allow_descriptors


def run(options: argparse.Namespace, name: str, *clients: str) -> None:
    command = [
        "taskset",
        "-c",
        "0",
        sys.executable,
        "-m",
        "tests.benchmarks.bench_broadcast_server",
        f"--ping-interval={options.ping_interval}",
    ]
    count = options.sockets
    with started(command) as server:
        port = server.hear()["port"]
        with crowd(server, port, 50, *clients):
            pass  # what the first sockets load and warm is not counted
        before = server.ask(measure=True)
        with crowd(server, port, count, *clients) as them:
            after = server.ask(measure=True)
            held = server.ask(hold=options.seconds)
            drain = server.ask(drain=True)
            received = them.hear()
        to_the_end = server.end() - drain["cpu_before"]
    memory = (after["bytes"] - before["bytes"]) / count
    tasks = (after["tasks"] - before["tasks"]) / count
    share = held["cpu"] / held["seconds"]
    pings = options.seconds / options.ping_interval
    print(f"{count} idle sockets, {name}")
    print(f"  memory      {memory / 1000:6.1f} kB and {tasks:.1f} tasks each")
    print(f"  heartbeats  {share:6.1%} of a core for {options.seconds} s ({pings:.1f} pings each)")
    print(
        f"  drain       {drain['seconds']:6.2f} s, {drain['cpu']:.2f} s of CPU, "
        f"{to_the_end:.2f} s to the end of the process; "
        f"{received['server_shutdown']} notified, "
        f"{received['close_codes'].get('1001', 0)} closed with 1001, "
        f"{received['ends_after_close']} in order, {received['broken']} broken"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sockets", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--ping-interval", type=float, default=25)
    options = parser.parse_args()
    allow_descriptors(options.sockets + 1000)
    run(options, "Socket.IO")
    run(options, "plain", "--plain")


if __name__ == "__main__":
    main()
