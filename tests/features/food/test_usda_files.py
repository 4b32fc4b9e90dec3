"""Downloads of FoodData Central that are damaged, incomplete or of an unusual form."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import struct
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from cookcam.cli import main
from cookcam.features.food.ingredients.importing import import_bundle
from cookcam.features.food.ingredients.importing.bundles import BundleError, open_bundle
from cookcam.features.food.ingredients.importing.csv_rows import CsvRows
from cookcam.features.food.ingredients.importing.loading import OLDER_VERSIONS
from cookcam.features.food.ingredients.importing.records import BadRow
from cookcam.features.food.ingredients.nutrients import columns_of
from tests.support.postgres import as_owner
from tests.support.usda_bundle import nutrient_row, write_csv_bundle

FOOD_HEADER = "fdc_id,data_type,description,food_category_id,publication_date\n"
AMOUNT_HEADER = "id,fdc_id,nutrient_id,amount\n"
BRAND_HEADER = "fdc_id,brand_owner,brand_name,gtin_upc,branded_food_category,modified_date\n"
FOODS = FOOD_HEADER + "11,sr_legacy_food,Butter,1,2019-04-01\n12,sr_legacy_food,Oats,1,2019-04-01\n"
AMOUNTS = AMOUNT_HEADER + "1,11,1008,717\n2,12,1008,389\n"


Files = dict[str, str | bytes]


def write_zip(path: Path, files: Files, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_download(path: Path, **files: str | bytes) -> Path:
    tables = {"food": FOODS, "food_nutrient": AMOUNTS, **files}
    return write_zip(path, {f"{name}.csv": content for name, content in tables.items()})


def json_food(fdc_id: int, name: str, **more: Any) -> dict[str, Any]:
    return {"fdcId": fdc_id, "description": name, "dataType": "Branded", **more}


def json_foods(*foods: dict[str, Any]) -> str:
    return json.dumps({"BrandedFoods": foods})


def run_import(url: str, path: Path) -> tuple[int, str]:
    """The exit status and the output of `cookcam usda import`; an exception fails the test."""
    environment = {"DATABASE_URL": url, "APP_ENV": "test"}
    result = CliRunner().invoke(main, ["usda", "import", str(path)], env=environment)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def stored(url: str, columns: str = "fdc_id, name") -> list[Any]:
    with psycopg.connect(as_owner(url)) as connection:
        query = f"select {columns} from public.ingredients order by fdc_id"
        return connection.execute(query).fetchall()  # type: ignore


def set_zip_field(path: Path, *, local_offset: int, central_offset: int, value: int) -> None:
    """Writes 16 bits into every local file header and every central directory entry."""
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", local_offset), (b"PK\x01\x02", central_offset)):
        at = content.find(signature)
        while at >= 0:
            struct.pack_into("<H", content, at + offset, value)
            at = content.find(signature, at + 4)
    path.write_bytes(content)


def damage(path: Path, member: str) -> None:
    """Overwrites the middle of a member's compressed data."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(member)
    content = bytearray(path.read_bytes())
    start = info.header_offset + 30 + len(member)
    middle = start + info.compress_size // 2
    content[middle : start + info.compress_size] = b"\xff" * (start + info.compress_size - middle)
    path.write_bytes(content)


def deflate64(path: Path) -> None:
    set_zip_field(write_download(path), local_offset=8, central_offset=10, value=9)


def encrypted(path: Path) -> None:
    set_zip_field(write_download(path), local_offset=6, central_offset=8, value=1)


def damaged(path: Path) -> None:
    lines = (f"{n},sr_legacy_food,Food {n * 7919},1,\n" for n in range(1, 20_000))
    damage(write_download(path, food=FOOD_HEADER + "".join(lines)), "food.csv")


def nested_json(path: Path) -> None:
    path.write_text('{"Foods": [{"a": ' + "[" * 100_000 + "]" * 100_000 + "}]}")


def nested_json_in_zip(path: Path) -> None:
    nested_json(path)
    write_zip(path, {"foods.json": path.read_text()})


def truncated_zip(path: Path) -> None:
    content = write_download(path).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def truncated_json(path: Path) -> None:
    path.write_text(json_foods(json_food(1, "Oats"))[:-10])


def bomb(path: Path) -> None:
    write_download(path, food=FOOD_HEADER + "\n" * (80 * 1024 * 1024))


def endless_line(path: Path) -> None:
    write_download(path, food=FOOD_HEADER + "x" * (5 * 1024 * 1024))


def utf16_json(path: Path) -> None:
    path.write_bytes(json_foods(json_food(1, "Oats")).encode("utf-16"))


def two_of_the_same_name(path: Path) -> None:
    write_zip(path, {"food.csv": FOODS, "food_nutrient.csv": AMOUNTS, "good.csv": FOODS})
    path.write_bytes(path.read_bytes().replace(b"good.csv", b"food.csv"))


REJECTED = {
    "deflate64": (deflate64, "food.csv in fdc.zip is compressed with Deflate64"),
    "encrypted": (encrypted, "food.csv in fdc.zip is encrypted"),
    "damaged": (damaged, "food.csv in fdc.zip is damaged"),
    "nested_json": (nested_json, "fdc.zip: food 1 is nested too deep"),
    "nested_json_in_zip": (nested_json_in_zip, "foods.json in fdc.zip: food 1 is nested too deep"),
    "truncated_zip": (truncated_zip, "fdc.zip is a zip whose end is missing"),
    "truncated_json": (truncated_json, "fdc.zip: food 1 is not JSON"),
    "bomb": (bomb, "fdc.zip unpacks to more than 200 times its size"),
    "endless_line": (endless_line, "food.csv in fdc.zip has a line of more than 4194304 bytes"),
    "utf16_json": (utf16_json, "fdc.zip is UTF-16"),
    "utf16_csv": (
        lambda path: write_download(path, food=FOODS.encode("utf-16")),
        "food.csv in fdc.zip is UTF-16",
    ),
    "empty": (lambda path: path.write_bytes(b""), "fdc.zip is empty"),
    "empty_table": (lambda path: write_download(path, food=""), "food.csv in fdc.zip is empty"),
    "other_type": (lambda path: path.write_bytes(b"%PDF-1.7"), "fdc.zip is neither a zip nor"),
    "zip_of_other_files": (
        lambda path: write_zip(path, {"readme.txt": "x"}),
        "fdc.zip holds neither food.csv nor a JSON file",
    ),
    "no_amounts": (
        lambda path: write_zip(path, {"a/food.csv": FOODS}),
        "a/food.csv in fdc.zip has no food_nutrient.csv beside it",
    ),
    "two_of_the_same_name": (two_of_the_same_name, "food.csv in fdc.zip is there twice"),
    "missing_column": (
        lambda path: write_download(path, food_nutrient="id,fdc_id,amount\n"),
        "food_nutrient.csv has no column nutrient_id",
    ),
    "long_header": (
        lambda path: write_download(path, food="x" * 2_000_000),
        "food.csv in fdc.zip: the header is not CSV",
    ),
    "other_json": (
        lambda path: write_zip(path, {"foods.json": json_foods(), "package.json": "{}"}),
        "package.json in fdc.zip does not begin with a list of foods",
    ),
    "no_foods": (lambda path: path.write_text(json_foods()), "fdc.zip: no food could be read"),
    "headers_only": (
        lambda path: write_download(path, food=FOOD_HEADER),
        "fdc.zip: no food could be read",
    ),
    "rows_of_the_wrong_width": (
        lambda path: write_download(path, food=FOODS.replace(",1,", ",")),
        "fdc.zip: food.csv: no row has as many fields as the header",
    ),
    "amounts_of_the_wrong_width": (
        lambda path: write_download(path, food_nutrient=AMOUNTS.replace(",1008,", ",1008,,")),
        "fdc.zip: food_nutrient.csv: no row has as many fields as the header",
    ),
    "json_that_goes_on": (
        lambda path: path.write_text('{"Foods": [{"fdcId": 1}], "more": 1}'),
        "fdc.zip: what follows food 1 is no list of foods",
    ),
}  # fmt: skip


def test_unusable_file_is_rejected_in_one_line_with_exit_status_1(
    fresh_database_url: str, tmp_path: Path
):
    path = tmp_path / "fdc.zip"
    for case, (write, reason) in REJECTED.items():
        path.unlink(missing_ok=True)
        write(path)  # type: ignore
        status, output = run_import(fresh_database_url, path)
        named = [line for line in output.splitlines() if reason in line]
        assert (status, len(named)) == (1, 1), (case, output)


def test_foods_before_the_damage_are_imported(fresh_database_url: str, tmp_path: Path):
    path = tmp_path / "foods.json"
    path.write_text(json_foods(json_food(1, "Oats"), json_food(2, "Rye"))[:-10])
    status, output = run_import(fresh_database_url, path)
    assert (status, stored(fresh_database_url)) == (1, [(1, "Oats")])
    assert "foods.json: food 2 is not JSON" in output


def test_long_field_of_the_category_table_is_skipped_and_named(
    fresh_database_url: str, tmp_path: Path
):
    categories = f"id,code,description\n1,01,{'x' * 200_000}\n2,02,Cereals\n"
    foods = FOODS.replace("Oats,1", "Oats,2")
    path = write_download(tmp_path / "fdc.zip", food_category=categories, food=foods)
    status, output = run_import(fresh_database_url, path)
    assert status == 0
    assert "skipped food_category.csv:2: description is longer than 200 characters" in output
    assert stored(fresh_database_url, "name, category") == [("Butter", None), ("Oats", "Cereals")]


def test_files_of_the_operating_system_are_ignored(fresh_database_url: str, tmp_path: Path):
    foods = json_foods(json_food(1, "Oats"))
    junk = dict.fromkeys(("__MACOSX/._foods.json", "._foods.json", ".DS_Store"), b"\0\5\x16\7")
    path = write_zip(tmp_path / "fdc.zip", {**junk, "foods.json": foods, ".x/.y.json": "{}"})
    status, output = run_import(fresh_database_url, path)
    assert (status, stored(fresh_database_url)) == (0, [(1, "Oats")]), output


def test_all_downloads_of_an_archive_are_imported(fresh_database_url: str, tmp_path: Path):
    path = write_zip(
        tmp_path / "fdc.zip",
        {
            "april/food.csv": FOOD_HEADER + "11,sr_legacy_food,Butter,1,\nx,sr_legacy_food,,,\n",
            "april/food_nutrient.csv": AMOUNT_HEADER + "1,11,1008,717\n",
            "october\\food.csv": FOOD_HEADER + "12,sr_legacy_food,Oats,1,2019-04-01\n",
            "october\\food_nutrient.csv": AMOUNT_HEADER + "2,12,1008,389\n",
            "a/foods.json": json_foods(json_food(13, "Rye")),
            "b/foods.json": json_foods(json_food(14, "Rice")),
        },
    )  # fmt: skip
    status, output = run_import(fresh_database_url, path)
    assert status == 0, output
    assert "skipped april/food.csv:3: fdc_id is not a number" in output
    assert stored(fresh_database_url, "name, calories_per_100g") == [
        ("Butter", 717), ("Oats", 389), ("Rye", None), ("Rice", None),
    ]  # fmt: skip


def test_all_lists_of_a_json_file_are_imported(fresh_database_url: str, tmp_path: Path):
    path = tmp_path / "foods.json"
    lists = {"FoundationFoods": [json_food(1, "Oats")], "BrandedFoods": [json_food(2, "Rye")]}
    path.write_text(json.dumps(lists))
    assert run_import(fresh_database_url, path)[0] == 0
    assert stored(fresh_database_url) == [(1, "Oats"), (2, "Rye")]


def nutrients(*amounts: tuple[int, object]) -> list[dict[str, Any]]:
    return [{"nutrient": {"id": number}, "amount": amount} for number, amount in amounts]


@pytest.mark.parametrize("form", ["csv", "json"])
def test_implausible_amount_is_skipped_and_the_food_imported(
    fresh_database_url: str, tmp_path: Path, form: str
):
    amounts = [(1008, 99_999), (1079, 2043), (1093, 45_000), (1003, -1), (1004, 81), (1005, "nan")]
    if form == "csv":
        rows = [nutrient_row(n, 1, *amount) for n, amount in enumerate(amounts)]
        foods = [(1, "sr_legacy_food", "Butter", "", "")]
        path = write_csv_bundle(tmp_path / "fdc.zip", foods, rows)
    else:
        path = tmp_path / "foods.json"
        path.write_text(json_foods(json_food(1, "Butter", foodNutrients=nutrients(*amounts))))
    status, output = run_import(fresh_database_url, path)
    assert status == 0
    assert "1 foods written, 1 of them new, 5 rows skipped" in output
    assert "the amount of nutrient 1008 is not from 0 to 1000" in output
    assert "the amount of nutrient 1079 is not from 0 to 100" in output
    assert stored(
        fresh_database_url,
        "calories_per_100g, fiber_g_per_100g, sodium_mg_per_100g, protein_g_per_100g,"
        " fat_g_per_100g, carbs_g_per_100g",
    ) == [(None, None, None, None, 81, None)]


def test_implausible_amount_fills_no_column():
    assert columns_of([(1008, 99_999), (1079, 2043), (1093, 40_000), (1003, -1), (1004, 100)]) == {
        "fat_g_per_100g": 100,
        "sodium_mg_per_100g": 40_000,
    }


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_unclosed_quote_affects_its_own_line_only(
    fresh_database_url: str, tmp_path: Path, end: str, mark: str
):
    foods = [
        '1,sr_legacy_food,"Butter,1,2019-04-01',
        "2,sr_legacy_food,Oats,1,2019-04-01",
        '3,sr_legacy_food,Rye",1,2019-04-01',
        '4,sr_legacy_food,"Rice,',
        'long grain",1,2019-04-01',
        '5,sr_legacy_food,Corn,1,"2019-04-01',
        '"6","sr_legacy_food","Malt","1","2019-04-01"',
        '"7","sr_legacy_food","5"" pie","1","2019-04-01"',
        '8,sr_legacy_food,Last,1,"2019-04-01',
    ]
    text = mark + FOOD_HEADER.strip() + end + end.join(foods)
    status, output = run_import(fresh_database_url, write_download(tmp_path / "fdc.zip", food=text))
    assert status == 0
    assert [(fdc_id, name) for fdc_id, name in stored(fresh_database_url)] == [
        (2, "Oats"), (3, 'Rye"'), (4, "Rice, long grain"), (6, "Malt"), (7, '5" pie'),
    ]  # fmt: skip
    for line in (2, 7, 10):
        assert f"skipped food.csv:{line}: not CSV: a quote is not closed" in output
    assert "3 rows skipped" in output


def test_text_that_is_not_utf_8_is_counted_and_never_stored(
    fresh_database_url: str, tmp_path: Path
):
    foods = FOODS + "13,sr_legacy_food,Crème fraîche,1,\n"
    path = write_download(tmp_path / "fdc.zip", food=foods.encode("cp1252"))
    status, output = run_import(fresh_database_url, path)
    assert status == 0
    assert "skipped food.csv:4: description is not UTF-8" in output
    assert stored(fresh_database_url) == [(11, "Butter"), (12, "Oats")]
    path = tmp_path / "foods.json"
    document = json_foods(json_food(14, "Cr*me"), json_food(15, "Rye", brandOwner="Ros*"))
    path.write_bytes(document.encode().replace(b"*", b"\xe8"))
    status, output = run_import(fresh_database_url, path)
    assert (status, "skipped foods.json:1: description is not UTF-8" in output) == (0, True)
    assert "skipped foods.json:2: brand is not UTF-8" in output
    assert stored(fresh_database_url) == [(11, "Butter"), (12, "Oats"), (15, "Rye")]


def test_counts_of_everything_skipped_are_printed(fresh_database_url: str, tmp_path: Path):
    foods = FOODS + "11,sr_legacy_food,Butter again,1,\n13,sub_sample_food,Sample,1,\n"
    amounts = AMOUNTS + "".join(f"{n},11,1008,-1\n" for n in range(30))
    path = write_download(tmp_path / "fdc.zip", food=foods, food_nutrient=amounts)
    status, output = run_import(fresh_database_url, path)
    assert status == 0
    assert "skipped 10 more" in output
    why = "food_nutrient.csv: the amount of nutrient 1008 is not from 0 to 1000"
    assert f"skipped 30 times {why}" in output
    assert "skipped 1 foods whose fdc_id was there before" in output
    assert "skipped 1 foods of types that are not imported" in output
    assert stored(fresh_database_url) == [(11, "Butter"), (12, "Oats")]


VERSIONS = [  # fdc_id, name, GTIN, kcal, published, modified
    (31, "OAT DRINK 1", "00012345678905", 41, "2019-04-01", "2019-03-01"),
    (33, "OAT DRINK 3", "012345678905", 43, "2024-10-31", "2018-01-01"),
    (32, "OAT DRINK 2", "12345678905", 42, "2024-10-31", "2017-12-31"),
]


def write_versions(path: Path, *versions: tuple[Any, ...]) -> Path:
    """A download with versions of products, as CSV or, where the path says so, as JSON."""
    if path.suffix == ".json":
        foods = [
            json_food(
                fdc_id,
                name,
                gtinUpc=gtin,
                publicationDate="{1}/{2}/{0}".format(*published.split("-")),
                modifiedDate=modified,
                foodNutrients=nutrients((1008, kcal)),
            )
            for fdc_id, name, gtin, kcal, published, modified in versions
        ]
        path.write_text(json_foods(*foods))
        return path
    return write_download(
        path,
        food=FOOD_HEADER + "".join(f"{v[0]},branded_food,{v[1]},,{v[4]}\n" for v in versions),
        branded_food=BRAND_HEADER + "".join(f"{v[0]},Co,,{v[2]},Drinks,{v[5]}\n" for v in versions),
        food_nutrient=AMOUNT_HEADER
        + "".join(f"{n},{v[0]},1008,{v[3]}\n" for n, v in enumerate(versions)),
    )


@pytest.mark.parametrize("name", ["fdc.zip", "foods.json"])
@pytest.mark.parametrize("rows", [1, 2, 100])
def test_newest_version_of_a_gtin_is_imported(
    fresh_database_url: str, tmp_path: Path, name: str, rows: int
):
    path = write_versions(tmp_path / name, *VERSIONS)
    report = import_bundle(fresh_database_url, path, rows=rows)
    assert report.skipped[OLDER_VERSIONS] == 2
    assert stored(fresh_database_url, "fdc_id, name, calories_per_100g") == [
        (33, "OAT DRINK 3", 43)
    ]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_newest_version_of_a_gtin_stays_across_imports(
    fresh_database_url: str, tmp_path: Path, order: tuple[int, ...]
):
    other = (40, "RYE", "4000", 1, "2019-04-01", "")
    row_ids: set[int] = set()
    for number, version in enumerate(order):
        name = "foods.json" if number == 1 else "fdc.zip"
        path = write_versions(tmp_path / name, VERSIONS[version], other)
        assert run_import(fresh_database_url, path)[0] == 0
        row_ids |= {row[0] for row in stored(fresh_database_url, "id")}
    assert stored(fresh_database_url, "fdc_id, name, calories_per_100g") == [
        (33, "OAT DRINK 3", 43),
        (40, "RYE", 1),
    ]
    assert len(row_ids) == 2


def test_download_of_older_versions_only_changes_nothing(fresh_database_url: str, tmp_path: Path):
    run_import(fresh_database_url, write_versions(tmp_path / "new.zip", VERSIONS[1]))
    status, output = run_import(
        fresh_database_url, write_versions(tmp_path / "old.zip", VERSIONS[0])
    )
    assert (status, stored(fresh_database_url)) == (0, [(33, "OAT DRINK 3")])
    assert "skipped 1 older versions of a food with the same GTIN" in output


def test_file_name_that_is_not_utf_8(fresh_database_url: str, tmp_path: Path):
    path = tmp_path / os.fsdecode(b"foods\xff.json")
    path.write_text(json_foods(json_food(1, "Oats")))
    assert run_import(fresh_database_url, path)[0] == 0
    path.write_text("x")
    status, output = run_import(fresh_database_url, path)
    assert (status, "foods?.json is neither a zip nor" in output) == (1, True)


DOWNLOAD: Files = {
    "food.csv": FOODS,
    "food_nutrient.csv": AMOUNTS,
    "foods.json": json_foods(json_food(1, "Oats")),
}


@settings(max_examples=300, deadline=None)
@given(data=st.data(), method=st.sampled_from([0, 8, 12, 14]))
def test_damaged_archive_raises_nothing_but_bundle_error(
    data: st.DataObject, method: int, tmp_path_factory: pytest.TempPathFactory
):
    path = write_zip(tmp_path_factory.mktemp("fuzz") / "fdc.zip", DOWNLOAD, method)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with suppress(BundleError), open_bundle(path) as bundle:
        for part in bundle.parts:
            assert sum(batch.lines for batch in part.batches(0, 10)) <= 10


def read_rows(text: str) -> tuple[list[list[str]], int]:
    """The rows of a CSV text with five columns, and how many lines were refused."""
    rows = CsvRows(io.StringIO(text, newline=""))
    rows.expect(5, 0)
    read: list[list[str]] = []
    rejected = 0
    while True:
        try:
            fields = rows.next_row()
        except BadRow:
            rejected += 1
            continue
        if fields is None:
            return read, rejected
        read.append(fields)


FIELDS = st.tuples(
    st.integers(1, 99).map(str), *[st.text(st.sampled_from('ab ",\n\r'), max_size=8)] * 4
)


def csv_text(rows: Iterable[Iterable[str]]) -> str:
    written = io.StringIO(newline="")
    csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return written.getvalue()


@given(st.lists(FIELDS))
def test_well_formed_rows_are_read_as_written(rows: list[tuple[str, ...]]):
    assert read_rows(csv_text(rows)) == ([list(row) for row in rows], 0)


@given(st.text(st.sampled_from('1a",\n'), max_size=60), st.integers(1, 5))
def test_rows_after_a_broken_line_are_read(broken: str, count: int):
    rows = [[str(n), "sr_legacy_food", "Oats", "1", ""] for n in range(count)]
    after = "".join(",".join(row) + "\n" for row in rows)
    read, _ = read_rows(broken.replace("\n", " ") + "\n" + after)
    assert read[-count:] == rows
