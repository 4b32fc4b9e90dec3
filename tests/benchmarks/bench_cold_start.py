"""How long a start takes in production mode: from exec to the first 200 of /health.

    python -m tests.benchmarks.bench_cold_start [--runs 15] [--top 25]

The clock starts before the process does. The database and the providers are not there: neither is
needed for the first answer. Then one more start under `-X importtime`, and the modules that took
longest, by their own time and with all they import. docs/startup.md has a reading of it.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
from attrs import frozen

from tests.support.commands import clean_environment
from tests.support.environments import STAGING
from tests.support.ports import free_ports

SETTINGS = {
    **STAGING,
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/nowhere",
    "SUPABASE_URL": "http://127.0.0.1:9",
    "SENTRY_DSN": "http://key@127.0.0.1:9/1",
}
REQUEST = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
BOUND = 30.0
IMPORT_LINE = re.compile(r"import time:\s*(\d+) \|\s*(\d+) \| (\s*)(\S+)")


@frozen
class Import:
    """A module that was imported: milliseconds of its own, and with all that it imported."""

    name: str
    own: float
    total: float


@contextmanager
def serving(*options: str, stderr: Path) -> Iterator[tuple[float, float]]:
    """A server that has answered /health; yields the seconds that took: by the clock, and of
    processor time, which a busy machine changes less."""
    [port] = free_ports(1)
    with tempfile.TemporaryDirectory() as folder, stderr.open("wb") as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *options, "-m", "cookcam", "serve"],
            cwd=folder,
            env=clean_environment(**SETTINGS, PORT=str(port)),
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        try:
            response = _first_answer(port, began + BOUND)
            seconds = time.perf_counter() - began
            if not response.startswith(b"HTTP/1.1 200"):
                raise click.ClickException(f"not a 200: {response!r}")
            yield seconds, _processor_seconds(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=BOUND)


def _processor_seconds(pid: int) -> float:
    """What all threads of a process have had so far; Linux only."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def _first_answer(port: int, deadline: float) -> bytes:
    while time.perf_counter() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(REQUEST)
            if response := connection.recv(65536):
                return response
        time.sleep(0.001)
    raise click.ClickException("no answer")


def imports(report: str) -> list[Import]:
    """What `-X importtime` wrote."""
    return [
        Import(name, int(own) / 1000, int(total) / 1000)
        for own, total, _, name in IMPORT_LINE.findall(report)
    ]


@click.command()
@click.option("--runs", default=15, show_default=True)
@click.option("--top", default=25, show_default=True)
def main(runs: int, top: int) -> None:
    """Prints the figures; asserts nothing."""
    times: list[tuple[float, float]] = []
    for _ in range(runs):
        with serving(stderr=Path(os.devnull)) as seconds:
            times.append(seconds)
    click.echo(f"exec to the first 200 of /health, {runs} runs, seconds")
    for title, values in zip(("clock", "processor"), zip(*times, strict=True), strict=True):
        click.echo(
            f"{title:>10}: median {statistics.median(values):.3f}, "
            f"fastest {min(values):.3f}, slowest {max(values):.3f}"
        )
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        with serving("-X", "importtime", stderr=report):
            pass
        found = imports(report.read_text())
    click.echo(f"{len(found)} modules, {sum(module.own for module in found):.0f} ms of imports")
    for title, key in (("own time", "own"), ("with imports", "total")):
        click.echo(f"\n{title}, ms")
        for module in sorted(found, key=lambda module: -getattr(module, key))[:top]:
            click.echo(f"{getattr(module, key):8.1f}  {module.name}")


if __name__ == "__main__":
    main()
