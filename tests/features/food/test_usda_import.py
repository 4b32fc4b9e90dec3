"""Bundles of FoodData Central into the catalogue, and an import that is killed half way."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from cookcam.cli import main
from cookcam.features.food.ingredients.importing import BundleError, import_bundle
from cookcam.features.food.ingredients.importing.loading import Problem
from tests.support.postgres import as_owner
from tests.support.usda_bundle import (
    nutrient_row,
    synthetic_foods,
    synthetic_nutrients,
    write_csv_bundle,
)

FOODS = [
    (11, "sr_legacy_food", "Butter, salted", "1", "2019-04-01"),
    (12, "branded_food", "OAT DRINK", "Plant Based Milk", "2024-10-31"),
    (13, "sub_sample_food", "Butter, sample 7", "1", "2019-04-01"),
    (14, "foundation_food", "Crème fraîche", "", "2024-10-31"),
]
NUTRIENTS = [
    nutrient_row(1, 12, 2047, "50"),
    nutrient_row(2, 11, 1008, "717"),
    nutrient_row(3, 11, 1003, "0.85"),
    nutrient_row(4, 14, 1093, "30"),
    nutrient_row(5, 11, "307", "643"),  # an older number
    nutrient_row(6, 13, 1008, "1"),
    nutrient_row(7, 11, 1051, "16"),
]


def rows(url: str, statement: str) -> list[Any]:
    with psycopg.connect(as_owner(url)) as connection:
        return connection.execute(statement).fetchall()  # type: ignore


def catalogue(url: str) -> list[Any]:
    return rows(
        url,
        "select fdc_id, name, category, usda_data_type, calories_per_100g, protein_g_per_100g,"
        " sodium_mg_per_100g, searchable_text from public.ingredients order by fdc_id",
    )


BUTTER = (
    11, "Butter, salted", "Dairy and Egg Products", "SR Legacy", 717, 0.85, 643,
    "butter, salted dairy and egg products",
)  # fmt: skip


def test_csv(fresh_database_url: str, tmp_path: Path):
    brands = [(12, "Oat Co", "Oaty", "123", "Plant Based Milk")]
    bundle = write_csv_bundle(tmp_path / "fdc.zip", FOODS, NUTRIENTS, brands=brands)
    report = import_bundle(fresh_database_url, bundle, rows=2)
    assert (report.foods, report.added, report.bad_rows, report.resumed) == (3, 3, 0, False)
    assert catalogue(fresh_database_url) == [
        BUTTER,
        (12, "OAT DRINK", "Plant Based Milk", "Branded", 50, None, None,
         "oat drink plant based milk oat co oaty"),
        (14, "Crème fraîche", None, "Foundation", None, None, 30, "crème fraîche"),
    ]  # fmt: skip
    again = import_bundle(fresh_database_url, bundle)
    assert (again.foods, again.added) == (3, 0)
    assert rows(fresh_database_url, "select count(*) from usda_import.foods") == [(0,)]
    words = rows(fresh_database_url, "select word from public.ingredient_words")
    assert ("butter",) in words


def test_order_of_amounts_does_not_matter(fresh_database_url: str, tmp_path: Path):
    nutrients = [
        nutrient_row(1, 11, 1008, "717"),
        nutrient_row(2, 11, 2047, "700"),
        nutrient_row(3, 14, 2048, "290"),
        nutrient_row(4, 12, 1003, "2"),
        nutrient_row(5, 14, 2047, "300"),
        nutrient_row(6, 11, 1003, "0.85"),
        nutrient_row(7, 11, 1003, "0.7"),
        nutrient_row(8, 12, 1003, "10"),
        nutrient_row(9, 11, 2048, "1"),
    ]
    for rows_at_once in (1, 2, 100):
        with psycopg.connect(as_owner(fresh_database_url)) as connection:
            connection.execute("delete from public.ingredients")
        bundle = write_csv_bundle(tmp_path / "fdc.zip", FOODS, nutrients)
        report = import_bundle(fresh_database_url, bundle, rows=rows_at_once)
        assert (report.foods, report.added, report.lines) == (3, 3, 13)
        assert [row[4:6] for row in catalogue(fresh_database_url)] == [
            (717, 0.85),
            (None, 10),
            (300, None),
        ]


def test_foods_without_amounts(fresh_database_url: str, tmp_path: Path):
    bundle = write_csv_bundle(tmp_path / "fdc.zip", synthetic_foods(7), [])
    received: list[tuple[str, int, int]] = []
    report = import_bundle(
        fresh_database_url,
        bundle,
        rows=3,
        progress=lambda step, done, of: received.append((step, done, of)),
    )
    assert (report.foods, report.added) == (7, 7)
    assert received[-3:] == [("the rest", 3, 7), ("the rest", 6, 7), ("the rest", 7, 7)]
    assert rows(fresh_database_url, "select count(*) from public.ingredients") == [(7,)]


def test_names_are_imported_unchanged(fresh_database_url: str, tmp_path: Path):
    names = [r"\N", r"C:\new\.", "a\tb\nc", 'say "cheese"', "\\"]
    foods = [(n, "sr_legacy_food", name, r"\N", "") for n, name in enumerate(names, start=1)]
    brands = [(1, r"\b", "", "", "")]
    import_bundle(
        fresh_database_url, write_csv_bundle(tmp_path / "fdc.zip", foods, [], brands=brands)
    )
    found = catalogue(fresh_database_url)
    assert [row[1] for row in found] == [r"\N", r"C:\new\.", "a b c", 'say "cheese"', "\\"]
    assert found[0][2] == r"\N"
    assert found[0][7] == r"\n \n \b"


def test_split_multibyte_character(fresh_database_url: str, tmp_path: Path):
    path = tmp_path / "foods.json"
    path.write_text(r'{"Foods": [{"fdcId": 1, "dataType": "Branded", "description": "a\ud800"}]}')
    import_bundle(fresh_database_url, path)
    assert [row[1] for row in catalogue(fresh_database_url)] == ["a?"]


def test_edited_names_are_not_overwritten(fresh_database_url: str, tmp_path: Path):
    rows_before = (
        "insert into public.ingredients (name, category, fdc_id, fat_g_per_100g)"
        " values ('Butter', 'Oils', 11, 81)"
    )
    with psycopg.connect(as_owner(fresh_database_url)) as connection:
        connection.execute(rows_before)
    report = import_bundle(
        fresh_database_url, write_csv_bundle(tmp_path / "fdc.zip", FOODS, NUTRIENTS)
    )
    assert report.added == 2
    (butter,) = rows(
        fresh_database_url,
        "select name, category, calories_per_100g, fat_g_per_100g from public.ingredients"
        " where fdc_id = 11",
    )
    assert butter == ("Butter", "Oils", 717, 81)


def test_bad_rows_are_reported_and_skipped(fresh_database_url: str, tmp_path: Path):
    foods = [
        *FOODS[:1],
        ("x", "sr_legacy_food", "No id", "1", ""),
        (2**31, "sr_legacy_food", "Too much", "1", ""),
        (15, "sr_legacy_food", "  ", "1", ""),
        (16, "sr_legacy_food", "x" * 501, "1", ""),
        (17, "sr_legacy_food"),
    ]
    nutrients = [
        nutrient_row(1, 11, 1008, "717"),
        nutrient_row(2, 11, 1003, "abc"),
        nutrient_row(3, 11, 1003, "-1"),
        nutrient_row(4, 11, 1003, "nan"),
        nutrient_row(5, 11, "", "1"),
        nutrient_row(6, 11, 1003, ""),
        *(nutrient_row(n, 11, 1003, "inf") for n in range(30)),
    ]
    bundle = write_csv_bundle(tmp_path / "fdc.zip", foods, nutrients)
    report = import_bundle(fresh_database_url, bundle)
    assert (report.foods, report.bad_rows, len(report.problems)) == (1, 39, 20)
    assert report.problems[:2] == [
        Problem("food.csv", 3, "fdc_id is not a number"),
        Problem("food.csv", 4, "fdc_id is out of range"),
    ]
    assert "food.csv:7: 2 fields where 5 belong" in map(str, report.problems)
    assert catalogue(fresh_database_url)[0][4:6] == (717, None)


def fdc_json() -> dict[str, Any]:
    def food(fdc_id: Any, name: str, kind: str, **more: Any) -> dict[str, Any]:
        return {"fdcId": fdc_id, "description": name, "dataType": kind, **more}

    def nutrient(number: int, amount: float | None) -> dict[str, Any]:
        return {"type": "FoodNutrient", "nutrient": {"id": number}, "amount": amount}

    return {
        "SRLegacyFoods": [
            food(
                11, "Butter, salted", "SR Legacy",
                foodCategory={"description": "Dairy and Egg Products"},
                foodNutrients=[nutrient(1008, 717), nutrient(1003, 0.85), nutrient(1093, 643),
                               nutrient(1051, 16), nutrient(1004, None)],
            ),
            food("x", "No id", "SR Legacy"),
            food(13, "Sample", "Sub Sample"),
            food(12, "OAT DRINK", "Branded", brandOwner="Oat Co",
                 brandedFoodCategory="Plant Based Milk"),
        ]
    }  # fmt: skip


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("zipped", [True, False])
def test_json(fresh_database_url: str, tmp_path: Path, indent: int | None, zipped: bool):
    path = tmp_path / "foods.json"
    path.write_text(json.dumps(fdc_json(), indent=indent))
    if zipped:
        with zipfile.ZipFile(tmp_path / "foods.zip", "w") as archive:
            archive.write(path, "foods.json")
        path = tmp_path / "foods.zip"
    report = import_bundle(fresh_database_url, path, rows=2)
    assert (report.foods, report.bad_rows) == (2, 1)
    assert report.problems == [Problem("foods.json", 2, "fdcId or description is missing")]
    butter, oats = catalogue(fresh_database_url)
    assert butter == BUTTER
    assert oats[1:4] == ("OAT DRINK", "Plant Based Milk", "Branded")
    assert oats[7].endswith("oat co")


def test_other_kinds_of_files_are_rejected(fresh_database_url: str, tmp_path: Path):
    other = tmp_path / "other"
    other.write_bytes(gzip.compress(b"food"))
    with pytest.raises(BundleError, match="neither a zip nor the JSON"):
        import_bundle(fresh_database_url, other)
    other.write_text('{"Foods": [{"fdcId": 1,')
    with pytest.raises(BundleError, match="food 1 is not JSON"):
        import_bundle(fresh_database_url, other)
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(BundleError, match=r"neither food\.csv nor a JSON file"):
        import_bundle(fresh_database_url, other)
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("food.csv", "a,b\n1,2\n")
        archive.writestr("food_nutrient.csv", "a\n")
    with pytest.raises(BundleError, match=r"food\.csv has no column fdc_id"):
        import_bundle(fresh_database_url, other)


def test_command(fresh_database_url: str, tmp_path: Path):
    bundle = write_csv_bundle(tmp_path / "fdc.zip", [*FOODS, ("x", *FOODS[0][1:])], NUTRIENTS)
    settings = {"DATABASE_URL": fresh_database_url, "APP_ENV": "test"}
    done = CliRunner().invoke(main, ["usda", "import", str(bundle)], env=settings)
    assert done.exit_code == 0, done.output
    assert "skipped food.csv:6: fdc_id is not a number" in done.output
    assert "3 foods written, 3 of them new, 1 rows skipped" in done.output
    bundle.write_text("nothing")
    rejected = CliRunner().invoke(main, ["usda", "import", str(bundle)], env=settings)
    assert rejected.exit_code == 1
    assert "neither a zip nor" in rejected.output


def test_killed_import_continues(fresh_database_url: str, tmp_path: Path):
    count = 3000
    bundle = write_csv_bundle(
        tmp_path / "fdc.zip", synthetic_foods(count), synthetic_nutrients(count, per_food=6)
    )
    program = (
        "import sys; from pathlib import Path\n"
        "from cookcam.features.food.ingredients.importing import import_bundle\n"
        "def tell(step, done, of): print(step, flush=True); sys.stdin.readline()\n"
        "import_bundle(sys.argv[1], Path(sys.argv[2]), rows=490, progress=tell)\n"
    )
    for stop_at in ("food.csv", "food_nutrient.csv"):
        child = subprocess.Popen(
            [sys.executable, "-c", program, fresh_database_url, str(bundle)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        with child:
            for step in iter(child.stdout.readline, ""):
                if step.strip() == stop_at:
                    os.kill(child.pid, signal.SIGKILL)
                    break
                child.stdin.write("\n")
                child.stdin.flush()
            child.wait(10)
        assert child.returncode == -signal.SIGKILL
    (written,) = rows(fresh_database_url, "select count(*) from public.ingredients")
    assert 0 < written[0] < count
    report = _when_the_lock_is_free(fresh_database_url, bundle)
    assert report.resumed
    assert report.foods == report.added == count - written[0]
    assert rows(
        fresh_database_url,
        "select count(*), count(distinct fdc_id), count(calories_per_100g),"
        " count(cholesterol_mg_per_100g) from public.ingredients",
    ) == [(count, count, count, 0)]


def _when_the_lock_is_free(url: str, bundle: Path) -> Any:
    """PostgreSQL notices after a moment that the killed client is gone."""
    for _ in range(100):
        with suppress(BundleError):  # another import is running
            return import_bundle(url, bundle, rows=490)
        time.sleep(0.05)
    raise AssertionError("the lock stayed")
