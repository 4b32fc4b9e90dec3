"""How fast `cookcam usda import` is, how much memory it takes, and that a kill loses nothing.

    .venv/bin/python -m tests.benchmarks.bench_usda_import [FOODS]

Makes synthetic bundles (300,000 foods by default, and a tenth of that as JSON) and imports them in
a process of their own; times searches on what came of it. Then kills an import with SIGKILL half
way and lets a second process end it. Beside the time stand the seconds of CPU of the importer and
of its backend: on a busy machine they say more.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson
import psycopg
import trio

from cookcam.config import DatabaseConfig
from cookcam.config.readers import Secret
from cookcam.database import Database
from cookcam.features.food.ingredients.store import IngredientStore
from tests.support.postgres import TEMPLATE, Cluster, as_owner, start_cluster
from tests.support.usda_bundle import (
    synthetic_foods,
    synthetic_nutrients,
    write_csv_bundle,
    write_json_bundle,
)

IMPORT = r"""
import json, re, sys, time
from pathlib import Path
from cookcam.features.food.ingredients.importing import import_bundle
began = time.perf_counter()
report = import_bundle(sys.argv[1], Path(sys.argv[2]))
print(json.dumps({
    "seconds": time.perf_counter() - began,
    "lines": report.lines,
    "foods": report.foods,
    "resumed": report.resumed,
    "cpu": time.process_time(),
    "megabytes": int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024,
}))
"""
SEARCHES = ("chicken", "chiken rosted", "tomatoe", "garlic butter", "brocoli", "zzz")


def main(foods: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        cluster = start_cluster(Path(directory) / "cluster")
        bundle = write_csv_bundle(
            Path(directory) / "fdc.zip", synthetic_foods(foods), synthetic_nutrients(foods)
        )
        print(f"{foods} foods, {bundle.stat().st_size / 1e6:.0f} MB")
        with cluster.temporary(TEMPLATE) as whole:
            done = run(cluster, whole, bundle)
            print(f"at once: {received(done)}")
            trio.run(search, cluster.url(whole, "cookcam_app"))
        fewer = foods // 10
        document = write_json_bundle(
            Path(directory) / "foods.zip", synthetic_foods(fewer), synthetic_nutrients(fewer)
        )
        with cluster.temporary(TEMPLATE) as whole:
            print(f"JSON: {received(run(cluster, whole, document))}")
        with cluster.temporary(TEMPLATE) as broken:
            url = cluster.url(broken, "cookcam_app")
            started = start(url, bundle)
            time.sleep(done["seconds"] / 2)
            started.kill()
            started.wait()
            wait_until_alone(as_owner(url))
            print(f"after a kill half way: {received(run(cluster, broken, bundle))}")
            with psycopg.connect(as_owner(url)) as connection:
                found = connection.execute(
                    "select count(*), count(distinct fdc_id) from public.ingredients"
                ).fetchone()
            assert found == (foods, foods), found


def start(url: str, bundle: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", IMPORT, url, str(bundle)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def wait_until_alone(url: str) -> None:
    """Until PostgreSQL has noticed that its client is gone: after the statement it is at."""
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute(
            "select 1 from pg_stat_activity where datname = current_database() "
            "and backend_type = 'client backend' and pid <> pg_backend_pid()"
        ).fetchone():
            time.sleep(0.2)


def run(cluster: Cluster, database: str, bundle: Path) -> dict[str, float]:
    before = seconds_of_backends(cluster)
    with start(cluster.url(database, "cookcam_app"), bundle) as child:
        out, _ = child.communicate()
    time.sleep(1)  # until the postmaster has counted the backend
    return {**json.loads(out), "backend_cpu": seconds_of_backends(cluster) - before}


def seconds_of_backends(cluster: Cluster) -> float:
    """CPU that backends took which have ended."""
    postmaster = int((cluster.directory / "postmaster.pid").read_text().split()[0])
    stat = Path(f"/proc/{postmaster}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[13]) + int(stat[14])) / os.sysconf("SC_CLK_TCK")


def received(done: dict[str, float]) -> str:
    return (
        f"{done['seconds']:.1f} s, {done['lines']} lines read, {done['foods']} foods written, "
        f"{done['lines'] / done['seconds']:.0f} lines/s, {done['foods'] / done['seconds']:.0f} "
        f"foods/s, {done['megabytes']:.0f} MB at most; CPU: {done['cpu']:.1f} s, "
        f"backend {done['backend_cpu']:.1f} s" + (", went on" if done["resumed"] else "")
    )


async def search(url: str) -> None:
    async with Database.open(DatabaseConfig(url=Secret(url), pool_min=1, pool_max=2)) as database:
        store = IngredientStore(database)
        for text in SEARCHES:
            found = orjson.loads(await store.search_json(text, 20, for_app=True))
            times: list[float] = []
            for _ in range(7):
                began = time.perf_counter()
                await store.search_json(text, 20, for_app=True)
                times.append(1000 * (time.perf_counter() - began))
            print(f"  {text!r}: {statistics.median(times):.0f} ms, {len(found)} rows")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300_000)
