"""The cost of reading recipes when there are a hundred, ten thousand or a million.

    python -m tests.benchmarks.bench_recipe_scale [SIZE...]

Every second recipe is published, every tenth has a common word, one in 5,000 a rare one; the newest
20,000 have linked ingredients. Prints for each read the blocks that PostgreSQL visits, which do not
depend on the machine, its milliseconds (the median of five), and the nodes that visit rows. A
million recipes take some minutes and 2 GB.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any, LiteralString, cast
from uuid import UUID, uuid4

import psycopg
import trio
from attrs import define, field

from cookcam.config import DatabaseConfig
from cookcam.config.readers import Secret
from cookcam.database import Database
from cookcam.features.recipes.catalogue.models import RecipeQuery
from cookcam.features.recipes.catalogue.store import RecipeStore
from cookcam.features.recipes.saving.store import SavingStore
from cookcam.identity import Identity
from tests.support.postgres import TEMPLATE, Cluster, start_cluster

SIZES = (100, 10_000, 1_000_000)
ROUNDS = 5
READER = UUID(int=1)

SEED = """
insert into auth.users (id, email)
select lpad(i::text, 32, '0')::uuid, i || '@example.com' from generate_series(1, 1000) as i;
insert into public.recipes (
  title, description, cuisine, prep_time, cook_time, difficulty, ingredients, instructions, tags,
  created_by, is_generated, is_published, created_at, trending_score
)
select
  'Recipe ' || i || case when i % 10 = 0 then ' tomato' else '' end
    || case when i % 5000 = 10 then ' saffron' else '' end,
  'A description of some words.', 'italian', 10, 20, 'easy',
  '["salt", "flour", {"name": "egg", "amount": "2"}]', array['Chop.', 'Cook.', 'Serve.'],
  array['quick'], lpad((1 + i % 1000)::text, 32, '0')::uuid, i % 2 = 1, i % 2 = 0,
  now() - i * interval '10 seconds', (i::bigint * 7919 % 100000) / 1000.0
from generate_series(1, {size}) as i;
insert into public.ingredients (name, calories_per_100g)
select 'Food ' || i, 100 from generate_series(1, 100) as i;
insert into public.recipe_ingredients (recipe_id, ingredient_id, quantity, order_index)
select r.id, i.id, 1, i.id
from (select id from public.recipes order by created_at desc limit 20000) as r
cross join (select id from public.ingredients order by id limit 5) as i;
insert into public.saved_recipes (user_id, recipe_id)
select lpad('1', 32, '0')::uuid, id from public.recipes
where is_published order by created_at desc limit 40;
"""


@define
class Explaining:
    """Stands for the database of a store: runs each read, then explains it."""

    database: Database
    blocks: int = 0
    milliseconds: float = 0.0
    nodes: list[str] = field(factory=list[str])

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def explained(actor: Any, *arguments: Any, **params: Any) -> Any:
            result = await getattr(self.database, name)(actor, *arguments, **params)
            plan = await self.database.fetch_all_as(
                actor,
                dict,
                cast("LiteralString", f"explain (analyze, buffers, timing off) {arguments[-1]}"),
                **params,
            )
            lines = [str(row["QUERY PLAN"]) for row in plan]
            buffers = next(line for line in lines if "Buffers:" in line)  # of the whole statement
            self.blocks += sum(map(int, re.findall(r"(?:hit|read)=(\d+)", buffers)))
            self.milliseconds += float(lines[-1].split()[2])
            scans = re.findall(
                r"-> +(\w[\w ]*Scan\b(?: using \w+)?) on (?:recipes|public)", "\n".join(lines)
            )
            self.nodes = list(dict.fromkeys([*self.nodes, *scans]))
            return result

        return explained


async def measure(database: Database, size: int) -> None:
    reader = Identity(READER, claims={"sub": str(READER)})
    (newest,) = await database.fetch_all_as(
        reader, dict, "select id from public.recipes where is_published limit 1"
    )

    def recipes(explaining: Any) -> RecipeStore:
        return RecipeStore(explaining)

    reads: dict[str, Callable[[Any], Awaitable[object]]] = {
        "newest": lambda db: recipes(db).page(reader, RecipeQuery()),
        "newest, guest": lambda db: recipes(db).page(None, RecipeQuery()),
        "trending": lambda db: recipes(db).page(reader, RecipeQuery(trending=True)),
        "of an author": lambda db: recipes(db).page(reader, RecipeQuery(author=READER)),
        "search, rare word": lambda db: recipes(db).page(reader, RecipeQuery(search="saffron")),
        "search, common word": lambda db: recipes(db).page(reader, RecipeQuery(search="tomato")),
        "by id": lambda db: recipes(db).find_json(reader, newest["id"]),
        "saved": lambda db: SavingStore(db).page_json(reader, 20, 0),
        "count (cached)": lambda db: recipes(db).count_published(RecipeQuery()),
    }
    for name, read in reads.items():
        explained = [Explaining(database) for _ in range(ROUNDS)]
        for explaining in explained:
            await read(explaining)
        last = explained[-1]
        milliseconds = median(each.milliseconds for each in explained)
        sys.stdout.write(
            f"{size:>9}  {name:<20}{last.blocks:>8} blocks{milliseconds:>10.1f} ms"
            f"  {', '.join(last.nodes)}\n"
        )


async def run(cluster: Cluster, size: int) -> None:
    with cluster.temporary(TEMPLATE) as name:
        with psycopg.connect(cluster.url(name), autocommit=True) as owner:
            owner.execute("alter table public.recipes disable trigger user")
            owner.execute(cast("LiteralString", SEED.replace("{size}", str(size))))
            owner.execute("vacuum analyze")
        config = DatabaseConfig(
            url=Secret(cluster.url(name, "cookcam_app")), pool_min=1, pool_max=1
        )
        async with Database.open(config) as database:
            await measure(database, size)


def main(sizes: list[int]) -> None:
    cluster = start_cluster(Path(tempfile.gettempdir()) / f"cookcam-bench-{uuid4().hex[:8]}")
    for size in sizes or SIZES:
        trio.run(run, cluster, size)


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]])
