"""How the database layer compares with its alternatives, all in one run.

    python -m tests.benchmarks.bench_database

Figures depend on the machine; the ratios say something. Rounds alternate between the contestants,
so that a machine that is busy for a moment is busy for all of them.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from uuid import uuid4

import psycopg
import trio

from cookcam.config import DatabaseConfig
from cookcam.config.readers import Secret
from cookcam.database import ANONYMOUS, Database
from cookcam.database.connecting import connect
from tests.support.postgres import TEMPLATE, as_owner, start_cluster

ROUNDS, QUERIES = 7, 1000
STATEMENT = "select id, title from public.recipes where is_published limit 10"

Query = Callable[[], Awaitable[object]]


async def compare(contestants: dict[str, Query]) -> dict[str, float]:
    """Queries per second of each, one at a time, the median of the rounds."""
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, query in contestants.items():
            began = time.perf_counter()
            for _ in range(QUERIES):
                await query()
            rates[name].append(QUERIES / (time.perf_counter() - began))
    return {name: median(each) for name, each in rates.items()}


async def run(url: str) -> None:
    config = DatabaseConfig(url=Secret(url), pool_min=1, pool_max=1)
    owner = as_owner(url)
    in_thread = psycopg.connect(owner, autocommit=True, prepare_threshold=None)
    async with await connect(owner) as native, Database.open(config) as database:

        async def ours() -> None:
            await (await native.execute(STATEMENT)).fetchall()

        async def threads() -> None:
            def query() -> None:
                in_thread.execute(STATEMENT).fetchall()

            await trio.to_thread.run_sync(query)

        async def read_as() -> None:
            await database.fetch_all_as(ANONYMOUS, dict, STATEMENT)

        async def transaction_as() -> None:
            async with database.transaction_as(ANONYMOUS) as tx:
                await tx.fetch_all(dict, STATEMENT)

        rates = await compare(
            {
                "psycopg in a thread": threads,
                "psycopg on Trio": ours,
                "fetch_all_as (role, claims, one trip)": read_as,
                "transaction_as (begin, statement, commit)": transaction_as,
            }
        )
    in_thread.close()
    bare = rates["psycopg on Trio"]
    for name, rate in rates.items():
        sys.stdout.write(f"{name:<44}{rate:>8.0f} /s{rate / bare:>8.2f}\n")


def main() -> None:
    cluster = start_cluster(Path(tempfile.gettempdir()) / f"cookcam-bench-{uuid4().hex[:8]}")
    with cluster.temporary(TEMPLATE) as name:
        trio.run(run, cluster.url(name, "cookcam_app"))


if __name__ == "__main__":
    main()
