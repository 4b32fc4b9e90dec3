"""The foods of the fake USDA, and their shapes on the wire."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from attrs import frozen

PUBLISHED = "2019-04-01"

NUTRIENTS: Mapping[int, tuple[str, str, str]] = {
    1008: ("208", "Energy", "kcal"),
    1003: ("203", "Protein", "g"),
    1004: ("204", "Total lipid (fat)", "g"),
    1005: ("205", "Carbohydrate, by difference", "g"),
    1079: ("291", "Fiber, total dietary", "g"),
    2000: ("269", "Total Sugars", "g"),
    1093: ("307", "Sodium, Na", "mg"),
    1087: ("301", "Calcium, Ca", "mg"),
    1089: ("303", "Iron, Fe", "mg"),
    1162: ("401", "Vitamin C, total ascorbic acid", "mg"),
    1092: ("306", "Potassium, K", "mg"),
}
"""The older number, the name and the unit of each nutrient id."""

_WORD = re.compile(r"[^\W_]+")


@frozen
class Food:
    """A food with its amounts per 100 g by nutrient id."""

    fdc_id: int
    data_type: str
    category: str
    description: str
    brand_owner: str
    amounts: Mapping[int, float]

    def in_search(self, score: float) -> dict[str, Any]:
        """As `GET /foods/search` shows it."""
        return {
            "fdcId": self.fdc_id,
            "description": self.description,
            "dataType": self.data_type,
            "publishedDate": PUBLISHED,
            "foodCategory": self.category,
            **({"brandOwner": self.brand_owner} if self.brand_owner else {}),
            "score": round(score, 5),
            "foodNutrients": [
                {
                    "nutrientId": nutrient,
                    "nutrientName": NUTRIENTS[nutrient][1],
                    "nutrientNumber": NUTRIENTS[nutrient][0],
                    "unitName": NUTRIENTS[nutrient][2].upper(),
                    "value": amount,
                }
                for nutrient, amount in self.amounts.items()
            ],
        }

    def in_full(self) -> dict[str, Any]:
        """As `GET /food/{fdcId}` shows it."""
        branded = self.data_type == "Branded"
        return {
            "fdcId": self.fdc_id,
            "description": self.description,
            "dataType": self.data_type,
            "publicationDate": PUBLISHED,
            **(
                {"brandOwner": self.brand_owner, "brandedFoodCategory": self.category}
                if branded
                else {"foodCategory": {"description": self.category}}
            ),
            "foodNutrients": [
                {
                    "type": "FoodNutrient",
                    "nutrient": {
                        "id": nutrient,
                        "number": NUTRIENTS[nutrient][0],
                        "name": NUTRIENTS[nutrient][1],
                        "unitName": NUTRIENTS[nutrient][2],
                    },
                    "amount": amount,
                }
                for nutrient, amount in self.amounts.items()
            ],
        }


def foods() -> list[Food]:
    """Every food of the fake."""
    text = files("cookcam.sandbox.usda").joinpath("foods.csv").read_text("utf-8")
    return [
        Food(
            int(row["fdc_id"]),
            row["data_type"],
            row["category"],
            row["description"],
            row["brand_owner"],
            {nutrient: float(row[str(nutrient)]) for nutrient in NUTRIENTS},
        )
        for row in csv.DictReader(text.splitlines())
    ]


def search_foods(
    all_foods: Sequence[Food], query: str, data_types: Sequence[str]
) -> list[dict[str, Any]]:
    """The foods that have a word of the query, those with more of them and fewer others first."""
    wanted = {_stem(word) for word in _WORD.findall(query.lower())}
    scored: list[tuple[float, Food]] = []
    for food in all_foods:
        words = {_stem(word) for word in _WORD.findall(food.description.lower())}
        common = len(wanted & words)
        if common and (not data_types or food.data_type in data_types):
            scored.append((100 * common * common / (len(wanted) * len(words)), food))
    scored.sort(key=lambda pair: (-pair[0], pair[1].fdc_id))
    return [food.in_search(score) for score, food in scored]


def _stem(word: str) -> str:
    if word.endswith("oes"):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word
