"""How fast `cookcam usda import` is, how much memory it takes, and that a kill loses nothing.

    .venv/bin/python -m tests.benchmarks.bench_usda_import [FOODS]

Makes a synthetic bundle (300,000 foods unless told), imports it in a process of its own, kills it
with SIGKILL half way, and lets a second process end it. Then times searches on what came of it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import trio

from cookcam.config import DatabaseConfig
from cookcam.database import Database
from cookcam.features.ingredients.store import IngredientStore
from cookcam.settings.readers import Secret
from tests.support.postgres import TEMPLATE, as_owner, start_cluster
from tests.support.usda_bundle import synthetic_foods, synthetic_nutrients, write_csv_bundle

IMPORT = """
import json, resource, sys, time
from pathlib import Path
from cookcam.features.ingredients.importing import import_bundle
began = time.perf_counter()
report = import_bundle(sys.argv[1], Path(sys.argv[2]))
print(json.dumps({
    "seconds": time.perf_counter() - began,
    "lines": report.lines,
    "foods": report.foods,
    "resumed": report.resumed,
    "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
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
            done = run(cluster.url(whole, "cookcam_app"), bundle)
            print(f"at once: {told(done)}")
            trio.run(search, cluster.url(whole, "cookcam_app"))
        with cluster.temporary(TEMPLATE) as broken:
            url = cluster.url(broken, "cookcam_app")
            started = start(url, bundle)
            time.sleep(done["seconds"] / 2)
            started.kill()
            started.wait()
            time.sleep(1)  # until PostgreSQL has noticed
            print(f"after a kill half way: {told(run(url, bundle))}")
            with psycopg.connect(as_owner(url)) as connection:
                found = connection.execute(
                    "select count(*), count(distinct fdc_id) from public.ingredients"
                ).fetchone()
            assert found == (foods, foods), found


def start(url: str, bundle: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", IMPORT, url, str(bundle)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def run(url: str, bundle: Path) -> dict[str, float]:
    with start(url, bundle) as child:
        out, _ = child.communicate()
    return json.loads(out)


def told(done: dict[str, float]) -> str:
    return (
        f"{done['seconds']:.1f} s, {done['lines']} lines read, {done['foods']} foods written, "
        f"{done['lines'] / done['seconds']:.0f} lines/s, {done['megabytes']:.0f} MB at most"
        + (", went on" if done["resumed"] else "")
    )


async def search(url: str) -> None:
    async with Database.open(DatabaseConfig(url=Secret(url), pool_min=1, pool_max=2)) as database:
        store = IngredientStore(database)
        for text in SEARCHES:
            times: list[float] = []
            for _ in range(7):
                began = time.perf_counter()
                found = await store.search(text, 20)
                times.append(1000 * (time.perf_counter() - began))
            print(f"  {text!r}: {statistics.median(times):.0f} ms, {len(found)} rows")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300_000)
