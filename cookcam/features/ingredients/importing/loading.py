"""Bundles into the catalogue: gathered by COPY, written by one statement per batch of foods.

Food and nutrients come in different files, in any order, and are more than memory holds. So they
are first gathered in tables (`usda_import`), each stretch of a file in one transaction with the
record of how far it went; then the catalogue is written in batches of foods by their id, again each
with its record. A process that dies anywhere leaves whole stretches behind, and the next run of the
same bundle goes on from there. What is written twice is the same row: its `fdc_id` is unique.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from attrs import define, field, frozen
from psycopg.types.json import Jsonb

from cookcam.database.connecting import connection_string
from cookcam.features.ingredients.importing.bundles import (
    Bundle,
    BundleError,
    Line,
    Part,
    open_bundle,
)
from cookcam.features.ingredients.importing.records import BrandRow, FoodRow, NutrientRow

STRETCH = 100_000
"""Lines of a file per transaction."""
BATCH = 10_000
"""Foods written to the catalogue per transaction."""
MOST_TOLD = 20
ONE_AT_A_TIME = 0x_C00C_0F00

STARTED = "select files, written_to from usda_import.progress where bundle = %s"
FORGET = "truncate usda_import.progress, usda_import.foods, usda_import.nutrients"
START = "insert into usda_import.progress (bundle) values (%s)"

COPY_FOODS = "copy usda_import_foods (fdc_id, name, category, data_type) from stdin"
COPY_NUTRIENTS = "copy usda_import.nutrients (fdc_id, nutrient, amount) from stdin"
COPY_BRANDS = "copy usda_import_brands (fdc_id, brand, category) from stdin"

STAGING = """
create temporary table if not exists usda_import_foods
  (fdc_id integer, name text, category text, data_type text) on commit delete rows;
create temporary table if not exists usda_import_brands
  (fdc_id integer, brand text, category text) on commit delete rows"""

GATHER_FOODS = """
insert into usda_import.foods (fdc_id, name, category, data_type)
select distinct on (fdc_id) fdc_id, name, category, data_type from usda_import_foods
on conflict (fdc_id) do nothing"""

GATHER_BRANDS = """
update usda_import.foods f set extra = b.brand, category = coalesce(b.category, f.category)
from usda_import_brands b where f.fdc_id = b.fdc_id"""

# What a catalogue row already says of name and category stays: people may have written it.
WRITE: LiteralString = """
with batch as materialized (
  select fdc_id, name, category, data_type, extra from usda_import.foods
  where fdc_id > %(after)s order by fdc_id limit %(batch)s
),
amounts as materialized (
  select n.fdc_id,
    coalesce(max(amount) filter (where nutrient = 1008), max(amount) filter (where nutrient = 2047),
      max(amount) filter (where nutrient = 2048)) as calories_per_100g,
    max(amount) filter (where nutrient = 1003) as protein_g_per_100g,
    max(amount) filter (where nutrient = 1005) as carbs_g_per_100g,
    max(amount) filter (where nutrient = 1004) as fat_g_per_100g,
    max(amount) filter (where nutrient = 1079) as fiber_g_per_100g,
    coalesce(max(amount) filter (where nutrient = 1063), max(amount) filter (where nutrient = 2000))
      as sugar_g_per_100g,
    max(amount) filter (where nutrient = 1093) as sodium_mg_per_100g,
    max(amount) filter (where nutrient = 1087) as calcium_mg_per_100g,
    max(amount) filter (where nutrient = 1089) as iron_mg_per_100g,
    max(amount) filter (where nutrient = 1162) as vitamin_c_mg_per_100g,
    max(amount) filter (where nutrient = 1092) as potassium_mg_per_100g,
    max(amount) filter (where nutrient = 1114) as vitamin_d_mcg_per_100g,
    max(amount) filter (where nutrient = 1106) as vitamin_a_mcg_per_100g,
    max(amount) filter (where nutrient = 1258) as saturated_fat_g_per_100g,
    max(amount) filter (where nutrient = 1257) as trans_fat_g_per_100g,
    max(amount) filter (where nutrient = 1253) as cholesterol_mg_per_100g
  from usda_import.nutrients n
  where n.fdc_id > %(after)s and n.fdc_id <= (select max(fdc_id) from batch)
  group by n.fdc_id
),
written as (
  insert into public.ingredients as i (
    fdc_id, name, category, usda_data_type, searchable_text, tags, usda_sync_date,
    calories_per_100g, protein_g_per_100g, carbs_g_per_100g, fat_g_per_100g, fiber_g_per_100g,
    sugar_g_per_100g, sodium_mg_per_100g, calcium_mg_per_100g, iron_mg_per_100g,
    vitamin_c_mg_per_100g, potassium_mg_per_100g, vitamin_d_mcg_per_100g, vitamin_a_mcg_per_100g,
    saturated_fat_g_per_100g, trans_fat_g_per_100g, cholesterol_mg_per_100g
  )
  select
    b.fdc_id, b.name, b.category, b.data_type,
    lower(concat_ws(' ', b.name, b.category, b.extra)), '{}', now(),
    a.calories_per_100g, a.protein_g_per_100g, a.carbs_g_per_100g, a.fat_g_per_100g,
    a.fiber_g_per_100g, a.sugar_g_per_100g, a.sodium_mg_per_100g, a.calcium_mg_per_100g,
    a.iron_mg_per_100g, a.vitamin_c_mg_per_100g, a.potassium_mg_per_100g, a.vitamin_d_mcg_per_100g,
    a.vitamin_a_mcg_per_100g, a.saturated_fat_g_per_100g, a.trans_fat_g_per_100g,
    a.cholesterol_mg_per_100g
  from batch b left join amounts a on a.fdc_id = b.fdc_id
  order by b.fdc_id
  on conflict (fdc_id) do update set
    category = coalesce(i.category, excluded.category),
    usda_data_type = excluded.usda_data_type,
    searchable_text = excluded.searchable_text,
    usda_sync_date = excluded.usda_sync_date,
    calories_per_100g = coalesce(excluded.calories_per_100g, i.calories_per_100g),
    protein_g_per_100g = coalesce(excluded.protein_g_per_100g, i.protein_g_per_100g),
    carbs_g_per_100g = coalesce(excluded.carbs_g_per_100g, i.carbs_g_per_100g),
    fat_g_per_100g = coalesce(excluded.fat_g_per_100g, i.fat_g_per_100g),
    fiber_g_per_100g = coalesce(excluded.fiber_g_per_100g, i.fiber_g_per_100g),
    sugar_g_per_100g = coalesce(excluded.sugar_g_per_100g, i.sugar_g_per_100g),
    sodium_mg_per_100g = coalesce(excluded.sodium_mg_per_100g, i.sodium_mg_per_100g),
    calcium_mg_per_100g = coalesce(excluded.calcium_mg_per_100g, i.calcium_mg_per_100g),
    iron_mg_per_100g = coalesce(excluded.iron_mg_per_100g, i.iron_mg_per_100g),
    vitamin_c_mg_per_100g = coalesce(excluded.vitamin_c_mg_per_100g, i.vitamin_c_mg_per_100g),
    potassium_mg_per_100g = coalesce(excluded.potassium_mg_per_100g, i.potassium_mg_per_100g),
    vitamin_d_mcg_per_100g = coalesce(excluded.vitamin_d_mcg_per_100g, i.vitamin_d_mcg_per_100g),
    vitamin_a_mcg_per_100g = coalesce(excluded.vitamin_a_mcg_per_100g, i.vitamin_a_mcg_per_100g),
    saturated_fat_g_per_100g =
      coalesce(excluded.saturated_fat_g_per_100g, i.saturated_fat_g_per_100g),
    trans_fat_g_per_100g = coalesce(excluded.trans_fat_g_per_100g, i.trans_fat_g_per_100g),
    cholesterol_mg_per_100g = coalesce(excluded.cholesterol_mg_per_100g, i.cholesterol_mg_per_100g)
  returning xmax = 0 as is_new
)
select count(*), count(*) filter (where is_new), (select max(fdc_id) from batch) from written"""


@frozen
class Problem:
    """A row that could not be used: where it stands, and why."""

    file: str
    line: int
    why: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.why}"


@define
class ImportReport:
    """What one run did. `problems` are the first of `bad_rows`; `resumed` when it went on."""

    lines: int = 0
    foods: int = 0
    added: int = 0
    bad_rows: int = 0
    resumed: bool = False
    problems: list[Problem] = field(factory=list[Problem])

    def bad(self, problem: Problem) -> None:
        self.bad_rows += 1
        if len(self.problems) < MOST_TOLD:
            self.problems.append(problem)


Progress = Callable[[str, int, int], None]
"""Told `(step, done, of)` in bytes of a file, then in foods."""


def import_bundle(
    url: str,
    path: Path,
    *,
    progress: Progress = lambda step, done, of: None,
    stretch: int = STRETCH,
    batch: int = BATCH,
) -> ImportReport:
    """Loads what `path` holds into the catalogue of the database at `url`, and ends what an earlier
    run of the same file began.

    Raises BundleError for a file that cannot be imported and while another import runs,
    psycopg.Error when the database fails.
    """
    report = ImportReport()
    with (
        open_bundle(path) as bundle,
        psycopg.connect(connection_string(url), autocommit=True) as connection,
    ):
        connection.execute("set role service_role")
        connection.execute("set statement_timeout = 0")
        connection.execute(STAGING)
        alone = connection.execute("select pg_try_advisory_lock(%s)", (ONE_AT_A_TIME,)).fetchone()
        if alone != (True,):
            raise BundleError("another import is running")
        _Import(connection, bundle, report, progress, stretch, batch).run()
    return report


@define
class _Import:
    connection: psycopg.Connection[Any]
    bundle: Bundle
    report: ImportReport
    progress: Progress
    stretch: int
    batch: int

    def run(self) -> None:
        files, written_to = self._start()
        self.report.resumed = bool(files) or written_to > 0
        for part in self.bundle.parts:
            self._gather(part, files)
        self._write(written_to)
        self.connection.execute(FORGET)

    def _start(self) -> tuple[dict[str, int], int]:
        """How far an earlier run of this bundle came; what is left of another one goes."""
        with self.connection.transaction():
            row = self.connection.execute(STARTED, (self.bundle.identity,)).fetchone()
            if row is not None:
                return row[0], row[1]
            self.connection.execute(FORGET)
            self.connection.execute(START, (self.bundle.identity,))
        return {}, 0

    def _gather(self, part: Part, files: dict[str, int]) -> None:
        """Reads a file from where the last run left it. -1 says that it is all there."""
        if files.get(part.name) == -1:
            return
        lines = part.lines(files.get(part.name, 0))
        while True:
            with self.connection.transaction():
                last = self._stretch(part, islice(lines, self.stretch))
                files[part.name] = -1 if last is None else last.number
                self.connection.execute(
                    "update usda_import.progress set files = %s where bundle = %s",
                    (Jsonb(files), self.bundle.identity),
                )
            if last is None:
                self.progress(part.name, part.size, part.size)
                return
            self.progress(part.name, last.read, part.size)

    def _stretch(self, part: Part, lines: Iterator[Line]) -> Line | None:
        """Gathers some lines; None when there was none left."""
        foods: list[FoodRow] = []
        brands: list[BrandRow] = []
        last: Line | None = None
        with self.connection.cursor().copy(COPY_NUTRIENTS) as copy:
            for line in lines:
                last = line
                self.report.lines += 1
                if line.problem is not None:
                    self.report.bad(Problem(part.name, line.number, line.problem))
                for row in line.rows:
                    if isinstance(row, NutrientRow):
                        copy.write_row((row.fdc_id, row.nutrient, row.amount))
                    elif isinstance(row, FoodRow):
                        foods.append(row)
                    else:
                        brands.append(row)
        if foods:
            with self.connection.cursor().copy(COPY_FOODS) as copy:
                for food in foods:
                    copy.write_row((food.fdc_id, food.name, food.category, food.data_type))
            self.connection.execute(GATHER_FOODS)
        if brands:
            with self.connection.cursor().copy(COPY_BRANDS) as copy:
                for brand in brands:
                    copy.write_row((brand.fdc_id, brand.brand, brand.category))
            self.connection.execute(GATHER_BRANDS)
        return last

    def _write(self, written_to: int) -> None:
        (total,) = self._one("select count(*) from usda_import.foods")
        (done,) = self._one("select count(*) from usda_import.foods where fdc_id <= %s", written_to)
        while True:
            with self.connection.transaction():
                row = self.connection.execute(
                    WRITE,
                    {"after": written_to, "batch": self.batch},
                ).fetchone()
                assert row is not None  # noqa: S101 - an aggregate returns a row
                foods, added, last = row
                if last is None:
                    return
                self.connection.execute(
                    "update usda_import.progress set written_to = %s where bundle = %s",
                    (last, self.bundle.identity),
                )
            written_to = last
            done += foods
            self.report.foods += foods
            self.report.added += added
            self.progress("catalogue", done, total)

    def _one(self, statement: LiteralString, *params: object) -> tuple[Any, ...]:
        row = self.connection.execute(statement, params).fetchone()
        return row or (None,)
