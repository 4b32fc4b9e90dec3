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

ROUNDS, QUERIES = 7, 300
STATEMENT = "select id, title from public.recipes where is_published limit 10"
AS_JSON = f"select coalesce(json_agg(r), '[]')::text from ({STATEMENT}) as r"

Query = Callable[[], Awaitable[object]]


async def compare(contestants: dict[str, Query]) -> dict[str, tuple[float, float]]:
    """Of each, one query at a time: queries per second, the median of the rounds, and the
    microseconds of this process's processor for a query, the least of them."""
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    costs: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, query in contestants.items():
            began, cost = time.perf_counter(), time.process_time()
            for _ in range(QUERIES):
                await query()
            rates[name].append(QUERIES / (time.perf_counter() - began))
            costs[name].append((time.process_time() - cost) / QUERIES * 1e6)
    return {name: (median(rates[name]), min(costs[name])) for name in contestants}


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

        async def json_as() -> None:
            await database.fetch_json_as(ANONYMOUS, AS_JSON)

        async def transaction_as() -> None:
            async with database.transaction_as(ANONYMOUS) as tx:
                await tx.fetch_all(dict, STATEMENT)

        rates = await compare(
            {
                "psycopg in a thread": threads,
                "psycopg on Trio": ours,
                "fetch_all_as (role, claims, one trip)": read_as,
                "fetch_json_as (the same, undecoded)": json_as,
                "transaction_as (begin, statement, commit)": transaction_as,
            }
        )
    in_thread.close()
    bare, _ = rates["psycopg on Trio"]
    for name, (rate, cost) in rates.items():
        sys.stdout.write(f"{name:<44}{rate:>8.0f} /s{rate / bare:>8.2f}{cost:>8.0f} µs\n")


def main() -> None:
    cluster = start_cluster(Path(tempfile.gettempdir()) / f"cookcam-bench-{uuid4().hex[:8]}")
    with cluster.temporary(TEMPLATE) as name:
        trio.run(run, cluster.url(name, "cookcam_app"))


if __name__ == "__main__":
    main()
