"""`/health` of the whole server against a plain Quart-Trio app under plain Hypercorn.

    .venv/bin/python -m tests.benchmarks.bench_health [--rounds 5] [--seconds 3]

Both servers run at once on one machine and are loaded in turns by wrk, so that whatever else the
machine does weighs on both; the figure that counts is the ratio of the medians.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

PLAIN = """
import sys, trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart_trio import QuartTrio

app = QuartTrio("plain")

@app.get("/health")
async def health():
    return {"status": "healthy"}

config = Config()
config.bind = ["127.0.0.1:" + sys.argv[1]]
config.errorlog = None
trio.run(serve, app, config)
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start_plain(port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PLAIN, str(port)])


def start_ours(port: int) -> subprocess.Popen[bytes]:
    """The product as it is; `/health` asks neither the database nor a provider."""
    settings = {
        "PORT": str(port),
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "SUPABASE_URL": "http://127.0.0.1:1",
        "SUPABASE_ANON_KEY": "none",
        "SUPABASE_SERVICE_ROLE_KEY": "none",
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
        "LOG_LEVEL": "error",
        "DB_POOL_MIN": "0",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "cookcam", "serve"],
        env={"PATH": os.environ["PATH"], **settings},
    )


def wait_for(port: int) -> None:
    for _ in range(100):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).read()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"no server on port {port}")


def requests_per_second(port: int, seconds: int) -> float:
    command = ["wrk", "-t1", "-c16", f"-d{seconds}s", f"http://127.0.0.1:{port}/health"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(text)
    found = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert found is not None
    return float(found[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("this benchmark needs wrk")
    ports = {"plain": free_port(), "ours": free_port()}
    servers = [start_plain(ports["plain"]), start_ours(ports["ours"])]
    try:
        for port in ports.values():
            wait_for(port)
        time.sleep(3)  # the warm-up of our server loads libraries after the first answer
        figures: dict[str, list[float]] = {"plain": [], "ours": []}
        for _ in range(options.rounds):
            for name, port in ports.items():
                figures[name].append(requests_per_second(port, options.seconds))
    finally:
        for server in servers:
            server.terminate()
            server.wait(20)
    medians = {name: statistics.median(values) for name, values in figures.items()}
    for name, values in figures.items():
        spread = f"{min(values):.0f} to {max(values):.0f}"
        print(f"{name:6} {medians[name]:7.0f} requests/s (median of {len(values)}; {spread})")
    print(f"ratio  {medians['ours'] / medians['plain']:7.2f}")


if __name__ == "__main__":
    main()
