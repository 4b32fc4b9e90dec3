"""Bundles into the catalogue: gathered by COPY, written by one statement per stretch of a file.

Foods and their nutrients come in different files, in any order, and are more than memory holds. So
foods are gathered first, in a table (`usda_import`). Then the amounts are read, and each stretch of
them is written to the catalogue while the next one is read. A stretch is one transaction with the
record of how far the file was read. A process that dies anywhere leaves whole stretches behind, and
the next run of the same bundle goes on from there. What is written twice is the same row: its
`fdc_id` is unique.
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
    Bundle,
    BundleError,
    Part,
    Stretch,
    open_bundle,
)
from cookcam.features.food.ingredients.importing.records import Gathered

ROWS = 50_000
"""Foods, or rows of another file, per transaction. Many, because they are written in the order of
their names, and so put more entries next to each other into the pages of the indexes."""
LINES_SENT = 5_000
MAX_REPORTED = 20
ONE_AT_A_TIME = 0x_C00C_0F00
OTHER_TYPES = "foods of types that are not imported"
OLDER_VERSIONS = "older versions of a food with the same GTIN"
DUPLICATES = "foods whose fdc_id was there before"

# A crash that takes a commit back empties the record of it, too: nothing waits for the disk until
# everything is there.
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

GATHER_FOODS = """
insert into usda_import.foods (fdc_id, name, category, data_type, published)
select fdc_id, name, category, data_type, published from usda_import_foods
on conflict (fdc_id) do nothing"""

GATHER_BRANDS = """
update usda_import.foods f set
  extra = b.brand, category = coalesce(b.category, f.category), gtin = b.gtin, modified = b.modified
from usda_import_brands b where f.fdc_id = b.fdc_id"""

# Versions of a GTIN are compared by (published, modified, fdc_id). Compares the branded foods just
# gathered with those of the same GTIN gathered before and with the version in the catalogue.
DROP_OLDER_VERSIONS = """
with gathered as (
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
  from gathered g
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

# The row of an older version becomes that of the newer one, so what refers to it stays. Amounts of
# the older version go; its name stays only where it is not the one that was imported.
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

# Writes the foods of a stretch with all amounts that were read of them so far. So the order of
# amounts does not matter; a food that is written again is counted once. Foods are looked up by
# their key, one by one, whatever the planner believes of a table nobody has analyzed.
# What a catalogue row already says of name and category stays: people may have written it.
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
    """A row that could not be used: where it stands, and why."""

    file: str
    line: int
    why: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.why}"


@define
class ImportReport:
    """What one run did. `problems` are the first of `bad_rows`; `resumed` when it went on.

    `bad_rows` counts rows, JSON foods and amounts of JSON foods that cannot be used, `reasons` the
    same by file and reason; `skipped` counts usable foods that are not imported. `failures` says
    why a run has to count as failed although it read everything.
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
"""Told `(step, done, of)` in bytes of a file, then in foods of which no amount is known."""


def import_bundle(
    url: str,
    path: Path,
    *,
    progress: Progress = lambda step, done, of: None,
    rows: int = ROWS,
) -> ImportReport:
    """Loads what `path` holds into the catalogue of the database at `url`, and ends what an earlier
    run of the same file began. `rows` are written per transaction.

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
        # The session of an import that has just ended keeps the lock until PostgreSQL ends it.
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
        """How far an earlier run of this bundle came; what is left of another one goes."""
        with self.connection.transaction():
            row = self.connection.execute(STARTED, (self.bundle.identity,)).fetchone()
            if row is not None:
                return row[0]
            self.connection.execute(FORGET)
            self.connection.execute(START, (self.bundle.identity,))
        return {}

    def _load(self, part: Part, files: dict[str, int]) -> None:
        """Reads a file from where the last run left it. -1 says that it is all there."""
        after = files.get(part.name, 0)
        if after == -1:
            return
        lines = wrong_width = 0
        with closing(_one_ahead(part.stretches(after, self.rows))) as stretches:
            for stretch in stretches:
                with self.connection.transaction():
                    self._gather(stretch.gathered)
                    self._record(files, part.name, stretch.last)
                self.report.lines += stretch.lines
                self.report.skipped[OTHER_TYPES] += stretch.gathered.other_types
                lines, wrong_width = lines + stretch.lines, wrong_width + stretch.wrong_width
                for number, why in stretch.problems:
                    self.report.bad(Problem(part.name, number, why))
                self.progress(part.name, stretch.read, part.size)
        if lines and lines == wrong_width:
            self.report.failures.append(f"{part.name}: no row has as many fields as the header")
        self._record(files, part.name, -1)
        self.progress(part.name, part.size, part.size)

    def _record(self, files: dict[str, int], name: str, last: int) -> None:
        files[name] = last
        self.connection.execute(CAME, (Jsonb(files), self.bundle.identity))

    def _gather(self, gathered: Gathered) -> None:
        if gathered.foods:
            self._copy(COPY_FOODS, gathered.foods)
            inserted = self.connection.execute(GATHER_FOODS).rowcount
            self.report.skipped[DUPLICATES] += len(gathered.foods) - inserted
        if gathered.brands:
            self._copy(COPY_BRANDS, gathered.brands)
            self.connection.execute(GATHER_BRANDS)
            older = self.connection.execute(DROP_OLDER_VERSIONS).rowcount
            self.report.skipped[OLDER_VERSIONS] += older
        if gathered.amounts:
            self._copy(COPY_AMOUNTS, gathered.lines_of_amounts())
            self._write()

    def _copy(self, statement: LiteralString, lines: Iterable[str]) -> None:
        """Sends lines of COPY's text format."""
        left = iter(lines)
        with self.connection.cursor().copy(statement) as copy:
            while block := "".join(islice(left, LINES_SENT)):
                copy.write(block.encode("utf-8", "replace"))

    def _write(self) -> None:
        """Writes the foods of which amounts were copied."""
        self.connection.execute(REPLACE_OLDER_VERSIONS)
        self.connection.execute(RECORD_VERSIONS)
        foods, added = self._one(WRITE)
        self.report.foods += foods
        self.report.added += added

    def _write_rest(self) -> None:
        """Foods of which no amount is known. Those written are among the amounts then, empty."""
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


def _one_ahead(stretches: Iterator[Stretch]) -> Generator[Stretch]:
    """The same stretches, the next one read in a thread while the caller deals with one."""
    with ThreadPoolExecutor(1, "usda-import") as reader:
        coming = reader.submit(next, stretches, None)
        while (stretch := coming.result()) is not None:
            coming = reader.submit(next, stretches, None)
            yield stretch
