"""Loads bundles into the catalogue: COPY into staging tables, then one statement per batch.

Foods and their nutrients are in different files, in any order, and exceed the memory. So the foods
are first copied to a staging table (schema `usda_import`). Then the amounts are read in batches; a
batch is written to the catalogue while the next one is read. A batch is one transaction that also
records the position in the file. After a crash the next run of the same bundle continues at that
position. Writing a food twice is harmless: its `fdc_id` is unique.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from attrs import define, field, frozen
from psycopg.types.json import Jsonb

from cookcam.database.connecting import connection_string
from cookcam.features.food.ingredients.importing.bundles import (
    Batch,
    Bundle,
    BundleError,
    Part,
    open_bundle,
)
from cookcam.features.food.ingredients.importing.records import CollectedRows

ROWS = 50_000
"""Rows per transaction. Large batches, sorted by name, put adjacent entries into index pages."""
LINES_SENT = 5_000
MAX_REPORTED = 20
ONE_AT_A_TIME = 0x_C00C_0F00
OTHER_TYPES = "foods of types that are not imported"
OLDER_VERSIONS = "older versions of a food with the same GTIN"
DUPLICATES = "foods whose fdc_id was there before"

# A crash that loses a commit also loses its recorded position, so asynchronous commits are safe
# until the end of the import.
SETTINGS = """
set role service_role;
set statement_timeout = 0;
set synchronous_commit = off;
set jit = off"""

STARTED = "select files from usda_import.progress where bundle = %s"
FORGET = "truncate usda_import.progress, usda_import.foods, usda_import.amounts"
START = "insert into usda_import.progress (bundle) values (%s)"
CAME = "update usda_import.progress set files = %s where bundle = %s"

STAGING = """
create temporary table if not exists usda_import_foods
  (fdc_id integer, name text, category text, data_type text, published date)
  on commit delete rows;
create temporary table if not exists usda_import_brands
  (fdc_id integer, brand text, category text, gtin text, modified date) on commit delete rows;
create temporary table if not exists usda_import_amounts
  (like usda_import.amounts) on commit delete rows"""

COPY_FOODS = "copy usda_import_foods (fdc_id, name, category, data_type, published) from stdin"
COPY_BRANDS = "copy usda_import_brands (fdc_id, brand, category, gtin, modified) from stdin"
COPY_AMOUNTS = """
copy usda_import_amounts (
  fdc_id, n1003, n1004, n1005, n1008, n1063, n1079, n1087, n1089, n1092, n1093, n1106, n1114,
  n1162, n1253, n1257, n1258, n2000, n2047, n2048
) from stdin"""

COLLECT_FOODS = """
insert into usda_import.foods (fdc_id, name, category, data_type, published)
select fdc_id, name, category, data_type, published from usda_import_foods
on conflict (fdc_id) do nothing"""

COLLECT_BRANDS = """
update usda_import.foods f set
  extra = b.brand, category = coalesce(b.category, f.category), gtin = b.gtin, modified = b.modified
from usda_import_brands b where f.fdc_id = b.fdc_id"""

# Versions of a GTIN are compared by (published, modified, fdc_id). Compares the new
# branded foods with earlier ones of the same GTIN in the staging table and in the catalogue.
DROP_OLDER_VERSIONS = """
with collected as (
  select distinct f.gtin
  from usda_import_brands b
  cross join lateral (
    select food.gtin from usda_import.foods food where food.fdc_id = b.fdc_id limit 1
  ) as f
  where f.gtin is not null
),
ranked as (
  select f.fdc_id, f.gtin, f.published, f.modified,
    row_number() over (
      partition by f.gtin order by f.published desc, f.modified desc, f.fdc_id desc
    ) as place
  from collected g
  cross join lateral (
    select * from usda_import.foods food where food.gtin = g.gtin offset 0
  ) as f
),
older as (
  select r.fdc_id
  from ranked r
  left join usda_import.versions v on v.gtin = r.gtin
    and exists (select from public.ingredients i where i.fdc_id = v.fdc_id)
  where r.place > 1
    or (v.published, v.modified, v.fdc_id) > (r.published, r.modified, r.fdc_id)
)
delete from usda_import.foods f using older o where f.fdc_id = o.fdc_id"""

# The row of an older version becomes that of the newer one, so references to it remain valid. The
# older amounts are removed; the name is replaced unless it was edited.
REPLACE_OLDER_VERSIONS = """
update public.ingredients i set
  fdc_id = f.fdc_id,
  name = case when i.name = v.name then f.name else i.name end,
  calories_per_100g = null, protein_g_per_100g = null, carbs_g_per_100g = null,
  fat_g_per_100g = null, fiber_g_per_100g = null, sugar_g_per_100g = null,
  sodium_mg_per_100g = null, calcium_mg_per_100g = null, iron_mg_per_100g = null,
  vitamin_c_mg_per_100g = null, potassium_mg_per_100g = null, vitamin_d_mcg_per_100g = null,
  vitamin_a_mcg_per_100g = null, saturated_fat_g_per_100g = null, trans_fat_g_per_100g = null,
  cholesterol_mg_per_100g = null
from usda_import_amounts a
cross join lateral (
  select * from usda_import.foods food where food.fdc_id = a.fdc_id limit 1
) as f
join usda_import.versions v on v.gtin = f.gtin and v.fdc_id <> f.fdc_id
where i.fdc_id = v.fdc_id
  and not exists (select from public.ingredients other where other.fdc_id = f.fdc_id)"""
RECORD_VERSIONS = """
insert into usda_import.versions (gtin, fdc_id, name, published, modified)
select f.gtin, f.fdc_id, f.name, f.published, f.modified
from usda_import_amounts a
cross join lateral (
  select * from usda_import.foods food where food.fdc_id = a.fdc_id limit 1
) as f
where f.gtin is not null
order by f.gtin
on conflict (gtin) do update set
  fdc_id = excluded.fdc_id, name = excluded.name,
  published = excluded.published, modified = excluded.modified"""

WITHOUT_AMOUNTS: LiteralString = """
from usda_import.foods f
where f.fdc_id > %s
  and not exists (select from usda_import.amounts a where a.fdc_id = f.fdc_id)"""
COUNT_FOODS = "select count(*) from usda_import.foods"
COUNT_REST = f"select count(*) {WITHOUT_AMOUNTS}"
TAKE_REST = f"""
with taken as (
  insert into usda_import_amounts (fdc_id)
  select f.fdc_id {WITHOUT_AMOUNTS} order by f.fdc_id limit %s
  returning fdc_id
)
select count(*), max(fdc_id) from taken"""  # noqa: S608 - constants

# Writes the foods of a batch with all their amounts so far: the order of amounts does not matter,
# and a food that is written again is counted once. Foods are looked up one by one by their key,
# because the planner has no statistics of the staging tables. An existing name and category are not
# replaced: they may have been edited.
WRITE: LiteralString = """
with amounts as (
  insert into usda_import.amounts as a (
    fdc_id, n1003, n1004, n1005, n1008, n1063, n1079, n1087, n1089, n1092, n1093, n1106, n1114,
    n1162, n1253, n1257, n1258, n2000, n2047, n2048
  )
  select
    fdc_id, n1003, n1004, n1005, n1008, n1063, n1079, n1087, n1089, n1092, n1093, n1106, n1114,
    n1162, n1253, n1257, n1258, n2000, n2047, n2048
  from usda_import_amounts
  on conflict (fdc_id) do update set
    n1003 = greatest(a.n1003, excluded.n1003),
    n1004 = greatest(a.n1004, excluded.n1004),
    n1005 = greatest(a.n1005, excluded.n1005),
    n1008 = greatest(a.n1008, excluded.n1008),
    n1063 = greatest(a.n1063, excluded.n1063),
    n1079 = greatest(a.n1079, excluded.n1079),
    n1087 = greatest(a.n1087, excluded.n1087),
    n1089 = greatest(a.n1089, excluded.n1089),
    n1092 = greatest(a.n1092, excluded.n1092),
    n1093 = greatest(a.n1093, excluded.n1093),
    n1106 = greatest(a.n1106, excluded.n1106),
    n1114 = greatest(a.n1114, excluded.n1114),
    n1162 = greatest(a.n1162, excluded.n1162),
    n1253 = greatest(a.n1253, excluded.n1253),
    n1257 = greatest(a.n1257, excluded.n1257),
    n1258 = greatest(a.n1258, excluded.n1258),
    n2000 = greatest(a.n2000, excluded.n2000),
    n2047 = greatest(a.n2047, excluded.n2047),
    n2048 = greatest(a.n2048, excluded.n2048)
  returning a.*, a.xmax = 0 as is_first
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
    a.fdc_id, f.name, f.category, f.data_type,
    lower(concat_ws(' ', f.name, f.category, f.extra)), '{}', now(),
    coalesce(a.n1008, a.n2047, a.n2048), a.n1003, a.n1005, a.n1004, a.n1079,
    coalesce(a.n1063, a.n2000), a.n1093, a.n1087, a.n1089,
    a.n1162, a.n1092, a.n1114, a.n1106,
    a.n1258, a.n1257, a.n1253
  from amounts a
  cross join lateral (
    select * from usda_import.foods food where food.fdc_id = a.fdc_id limit 1
  ) as f
  order by f.name, a.fdc_id
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
  returning i.fdc_id, i.xmax = 0 as is_new
)
select count(*) filter (where a.is_first), count(*) filter (where w.is_new)
from written w join amounts a on a.fdc_id = w.fdc_id"""


@frozen
class Problem:
    """An unusable row: file, line and reason."""

    file: str
    line: int
    why: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.why}"


@define
class ImportReport:
    """The result of one run. `problems` are the first of `bad_rows`; `resumed`: it continued a run.

    `bad_rows` counts unusable rows, JSON foods and amounts of JSON foods, `reasons` the same by
    file and reason; `skipped` counts usable foods that are not imported. `failures` are the reasons
    why a complete run still counts as failed.
    """

    lines: int = 0
    foods: int = 0
    added: int = 0
    bad_rows: int = 0
    resumed: bool = False
    problems: list[Problem] = field(factory=list[Problem])
    reasons: Counter[str] = field(factory=Counter[str])
    skipped: Counter[str] = field(factory=Counter[str])
    failures: list[str] = field(factory=list[str])

    def bad(self, problem: Problem) -> None:
        self.bad_rows += 1
        self.reasons[f"{problem.file}: {problem.why}"] += 1
        if len(self.problems) < MAX_REPORTED:
            self.problems.append(problem)


Progress = Callable[[str, int, int], None]
"""Called with `(step, done, total)` in bytes of a file, then in foods without amounts."""


def import_bundle(
    url: str,
    path: Path,
    *,
    progress: Progress = lambda step, done, of: None,
    rows: int = ROWS,
) -> ImportReport:
    """Load the bundle at `path` into the catalogue, or continue an interrupted run of it.

    `url` is the database; `rows` are written per transaction.

    Raises BundleError for a file that cannot be imported and while another import runs,
    psycopg.Error when the database fails.
    """
    report = ImportReport()
    with (
        open_bundle(path) as bundle,
        psycopg.connect(connection_string(url), autocommit=True) as connection,
    ):
        connection.execute(SETTINGS)
        connection.execute(STAGING)
        # The session of an import that has just ended holds the lock until PostgreSQL closes it.
        connection.execute("set lock_timeout = '3s'")
        try:
            connection.execute("select pg_advisory_lock(%s)", (ONE_AT_A_TIME,))
        except psycopg.errors.LockNotAvailable:
            raise BundleError("another import is running") from None
        connection.execute("reset lock_timeout")
        _Import(connection, bundle, report, progress, rows).run()
    return report


@define
class _Import:
    connection: psycopg.Connection[Any]
    bundle: Bundle
    report: ImportReport
    progress: Progress
    rows: int

    def run(self) -> None:
        files = self._start()
        self.report.resumed = bool(files)
        for problem in self.bundle.problems:
            self.report.bad(Problem(*problem))
        for part in self.bundle.parts:
            self._load(part, files)
        self._write_rest()
        (usable,) = self._one(COUNT_FOODS)
        if not usable and not self.report.skipped[OLDER_VERSIONS]:
            self.report.failures.append("no food could be read")
        self.connection.execute("reset synchronous_commit")
        self.connection.execute(FORGET)

    def _start(self) -> dict[str, int]:
        """The positions of an interrupted run of this bundle; discards those of other bundles."""
        with self.connection.transaction():
            row = self.connection.execute(STARTED, (self.bundle.identity,)).fetchone()
            if row is not None:
                return row[0]
            self.connection.execute(FORGET)
            self.connection.execute(START, (self.bundle.identity,))
        return {}

    def _load(self, part: Part, files: dict[str, int]) -> None:
        """Read a file from its recorded position; -1 means that it is complete."""
        after = files.get(part.name, 0)
        if after == -1:
            return
        lines = wrong_width = 0
        with closing(_one_ahead(part.batches(after, self.rows))) as batches:
            for batch in batches:
                with self.connection.transaction():
                    self._copy_rows(batch.collected)
                    self._record(files, part.name, batch.last)
                self.report.lines += batch.lines
                self.report.skipped[OTHER_TYPES] += batch.collected.other_types
                lines, wrong_width = lines + batch.lines, wrong_width + batch.wrong_width
                for number, why in batch.problems:
                    self.report.bad(Problem(part.name, number, why))
                self.progress(part.name, batch.read, part.size)
        if lines and lines == wrong_width:
            self.report.failures.append(f"{part.name}: no row has as many fields as the header")
        self._record(files, part.name, -1)
        self.progress(part.name, part.size, part.size)

    def _record(self, files: dict[str, int], name: str, last: int) -> None:
        files[name] = last
        self.connection.execute(CAME, (Jsonb(files), self.bundle.identity))

    def _copy_rows(self, collected: CollectedRows) -> None:
        if collected.foods:
            self._copy(COPY_FOODS, collected.foods)
            inserted = self.connection.execute(COLLECT_FOODS).rowcount
            self.report.skipped[DUPLICATES] += len(collected.foods) - inserted
        if collected.brands:
            self._copy(COPY_BRANDS, collected.brands)
            self.connection.execute(COLLECT_BRANDS)
            older = self.connection.execute(DROP_OLDER_VERSIONS).rowcount
            self.report.skipped[OLDER_VERSIONS] += older
        if collected.amounts:
            self._copy(COPY_AMOUNTS, collected.lines_of_amounts())
            self._write()

    def _copy(self, statement: LiteralString, lines: Iterable[str]) -> None:
        """Send lines in COPY's text format."""
        left = iter(lines)
        with self.connection.cursor().copy(statement) as copy:
            while block := "".join(islice(left, LINES_SENT)):
                copy.write(block.encode("utf-8", "replace"))

    def _write(self) -> None:
        """Write the foods whose amounts were copied."""
        self.connection.execute(REPLACE_OLDER_VERSIONS)
        self.connection.execute(RECORD_VERSIONS)
        foods, added = self._one(WRITE)
        self.report.foods += foods
        self.report.added += added

    def _write_rest(self) -> None:
        """Write the foods without amounts, and record each with empty amounts."""
        (total,) = self._one(COUNT_REST, 0)
        done = last = 0
        while done < total:
            with self.connection.transaction():
                taken, last = self._one(TAKE_REST, last, self.rows)
                self._write()
            done += taken
            self.progress("the rest", done, total)

    def _one(self, statement: LiteralString, *params: object) -> tuple[Any, ...]:
        row = self.connection.execute(statement, params or None).fetchone()
        assert row is not None  # noqa: S101 - an aggregate returns a row
        return row


def _one_ahead(batches: Iterator[Batch]) -> Generator[Batch]:
    """Yield the batches; a thread reads the next one while the caller processes one."""
    with ThreadPoolExecutor(1, "usda-import") as reader:
        coming = reader.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = reader.submit(next, batches, None)
            yield batch
