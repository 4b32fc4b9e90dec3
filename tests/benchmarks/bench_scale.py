"""What more connections cost, and what a second process gives.

    .venv/bin/python -m tests.benchmarks.bench_scale [--seconds 3]

wrk reads `/health` and the caller's profile on 1 to 1,000 connections, from one and from two
workers. wrk and PostgreSQL run on the same cores.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from cookcam.app.readiness import WARM_UP_DELAY
from tests.benchmarks.twins.__main__ import PRODUCT, ROUTES, WARM_UP_SECONDS, Setting, serving, wrk
from tests.support.sandbox_process import sandbox_process
from tests.support.socket_crowd import allow_descriptors

CONNECTIONS = (1, 8, 32, 128, 512, 1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    allow_descriptors(CONNECTIONS[-1] + 1000)
    command = [sys.executable, "-m", "cookcam", "serve"]
    print("| workers | route | connections | requests/s | 503/s | p99 | CPU/request |")
    print("|---|---|---|---|---|---|---|")
    with (
        tempfile.TemporaryDirectory(prefix="cookcam-scale-") as folder,
        sandbox_process(Path(folder) / "home") as sandbox,
    ):
        setting = Setting.of(sandbox)
        environment = setting.environment(PRODUCT)
        for workers in (1, 2):
            with serving([*command, f"--workers={workers}"], environment) as server:
                time.sleep(WARM_UP_DELAY + WARM_UP_SECONDS)
                for route in ("/health", "profile"):
                    for connections in CONNECTIONS:
                        load = wrk(
                            server,
                            ROUTES[route],
                            setting.token,
                            options.seconds,
                            connections=connections,
                        )
                        print(
                            f"| {workers} | {route} | {connections:,} | {load.rate:,.0f} "
                            f"| {load.rejected:,.0f} | {load.p99:.1f} ms | {load.cpu:.0f} µs |",
                            flush=True,
                        )


if __name__ == "__main__":
    main()
