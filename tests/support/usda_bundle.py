"""Synthetic bundles in the form in which USDA publishes FoodData Central."""

from __future__ import annotations

import csv
import io
import json
import random
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

NUTRIENTS = (1008, 1003, 1004, 1005, 1079, 2000, 1093, 1087, 1089, 1162, 1092, 1253, 1051, 1095)
"""Those of a usual food, two of which fill no column."""

_WORDS = (  # noqa: SIM905 - words to read
    "chicken beef pork salmon rice pasta tomato onion garlic butter cheese milk yogurt bread oat "
    "almond apple banana lemon pepper carrot spinach broccoli potato bean lentil soup sauce salad "
    "organic roasted smoked frozen whole light sweet dark crunchy creamy spicy classic original"
).split()

Row = Iterable[object]


def write_csv_bundle(
    path: Path,
    foods: Iterable[Row],
    nutrients: Iterable[Row],
    *,
    brands: Iterable[Row] = (),
) -> Path:
    """A zip as the full download: a folder with the tables, each with the columns it has there."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        _table(
            archive,
            "food_category.csv",
            ["id", "code", "description"],
            [(1, "0100", "Dairy and Egg Products"), (9, "0900", "Fruits and Fruit Juices")],
        )
        _table(
            archive,
            "nutrient.csv",
            ["id", "name", "unit_name", "nutrient_nbr", "rank"],
            [(1008, "Energy", "KCAL", "208", "300.0")],
        )
        _table(
            archive,
            "food.csv",
            ["fdc_id", "data_type", "description", "food_category_id", "publication_date"],
            foods,
        )
        _table(
            archive,
            "food_nutrient.csv",
            [
                "id",
                "fdc_id",
                "nutrient_id",
                "amount",
                "data_points",
                "derivation_id",
                "min",
                "max",
                "median",
                "footnote",
                "min_year_acquired",
            ],
            nutrients,
        )
        _table(
            archive,
            "branded_food.csv",
            ["fdc_id", "brand_owner", "brand_name", "gtin_upc", "branded_food_category"],
            brands,
        )
    return path


def write_json_bundle(path: Path, foods: Iterable[list[Any]], nutrients: Iterable[Row]) -> Path:
    """The same foods as a zip with the JSON form of branded foods."""
    amounts: dict[int, list[dict[str, Any]]] = {}
    for _, fdc_id, nutrient, amount, *_ in nutrients:
        amounts.setdefault(cast("int", fdc_id), []).append(
            {"type": "FoodNutrient", "nutrient": {"id": nutrient}, "amount": amount}
        )
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("foods.json", "w") as raw,
    ):
        raw.write(b'{"BrandedFoods": [\n')
        for number, (fdc_id, _, name, *_) in enumerate(foods):
            food = {
                "fdcId": fdc_id,
                "description": name,
                "dataType": "Branded",
                "brandedFoodCategory": "Snacks",
                "foodNutrients": amounts.get(fdc_id, []),
            }
            raw.write((b",\n" if number else b"") + json.dumps(food).encode())
        raw.write(b"\n]}\n")
    return path


def nutrient_row(number: int, fdc_id: int, nutrient: object, amount: object) -> list[object]:
    return [number, fdc_id, nutrient, amount, "", "49", "", "", "", "", ""]


def synthetic_foods(count: int, *, seed: int = 1) -> Iterator[list[Any]]:
    chance = random.Random(seed)
    for number in range(count):
        name = " ".join(chance.sample(_WORDS, chance.randint(2, 5))).upper()
        kind = "branded_food" if number % 10 else "sr_legacy_food"
        yield [500_000 + number, kind, name, "9" if number % 10 == 0 else "Snacks", "2024-10-31"]


def synthetic_nutrients(
    count: int, *, per_food: int = len(NUTRIENTS), seed: int = 2
) -> Iterator[list[Any]]:
    """Every food's nutrients, not sorted by food: as in the real file, runs of foods are apart."""
    chance = random.Random(seed)
    number = 0
    for start in (1, 0):
        for food in range(start, count, 2):
            for nutrient in NUTRIENTS[:per_food]:
                number += 1
                amount = round(chance.uniform(0, 90), 2)
                yield nutrient_row(number, 500_000 + food, nutrient, amount)


def _table(archive: zipfile.ZipFile, name: str, header: list[str], rows: Iterable[Row]) -> None:
    with (
        archive.open(f"FoodData_Central_csv/{name}", "w", force_zip64=True) as raw,
        io.TextIOWrapper(raw, "utf-8", newline="") as text,
    ):
        writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
