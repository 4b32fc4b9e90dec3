"""Fills a JSON schema with facts: the keys say what is meant, the types how it is said.

Facts live in scopes, one inside the other: the whole answer, a dish, one of its steps. A key is
looked up from the inside out, without regard to case and underscores, and shaped to the schema:
nothing that leaves here breaks it.
"""

from __future__ import annotations

import re
from collections import ChainMap
from random import Random
from typing import Any, cast

from attrs import define

from cookcam.sandbox.openai.cooking import Facts, dishes
from cookcam.sandbox.openai.pantry import STAPLES
from cookcam.sandbox.openai.seeing import detected
from cookcam.sandbox.openai.wire import Body, Question
from cookcam.sandbox.openai.wishes import Wishes, read_wishes

_USUAL_COUNT = 3
_MAX_LIST_LENGTH = 20


def fill(question: Question, *, empty: bool = False) -> Body:
    """An answer to the question that fits its schema; with `empty`, as little as fits."""
    wishes = read_wishes(question.prompt)
    facts: Facts = {
        "ingredientanalysis": {
            "totalscanned": len(wishes.ingredients),
            "compatibilitygroups": [wishes.ingredients[:3], wishes.ingredients[3:6]],
            "pantrystaplesused": list(STAPLES),
        },
    }
    if not _has_list_of_dishes(question.schema) and "title" in question.schema["properties"]:
        facts |= dishes(wishes, question.seed, 1)[0]
    filler = _Filler(question, wishes, Random(question.seed), empty)  # noqa: S311 # no secret
    return cast("Body", filler.value(question.schema, "", ChainMap(facts), None))


@define
class _Filler:
    question: Question
    wishes: Wishes
    random: Random
    empty: bool

    def value(self, schema: Body, key: str, scope: ChainMap[str, Any], fact: object) -> Any:
        """A value for `schema`; `fact` is what is known for it, None for nothing."""
        if "anyOf" in schema:
            choices = cast("list[Body]", schema["anyOf"])
            given = next(choice for choice in choices if choice.get("type") != "null")
            nullable = any(choice.get("type") == "null" for choice in choices)
            return None if nullable and fact is None else self.value(given, key, scope, fact)
        if "enum" in schema:
            return self._choice(cast("list[object]", schema["enum"]), fact)
        match schema["type"]:
            case "object":
                return self._object(schema, scope, fact)
            case "array":
                return self._array(schema, key, scope, fact)
            case "boolean":
                return fact if isinstance(fact, bool) else False
            case "integer" | "number":
                return self._number(schema, fact)
            case "string":
                return self._text(key, scope, fact)
            case _:
                return None

    def _object(self, schema: Body, scope: ChainMap[str, Any], fact: object) -> Body:
        if isinstance(fact, dict):
            scope = scope.new_child(cast("Facts", fact))
        properties = cast("dict[str, Body]", schema["properties"])
        return {
            key: self.value(inner, key, scope, scope.get(_plain(key)))
            for key, inner in properties.items()
        }

    def _array(self, schema: Body, key: str, scope: ChainMap[str, Any], fact: object) -> list[Any]:
        items, least = cast("Body", schema["items"]), int(schema.get("minItems", 0))
        most = int(schema.get("maxItems", _MAX_LIST_LENGTH))
        if self.empty:
            facts: list[Any] = []
        elif _describes(items, "confidence"):
            facts = detected(self.question.images)
        elif _describes(items, "title"):
            facts = dishes(self.wishes, self.question.seed, min(most, max(least, _USUAL_COUNT)))
        else:
            facts = list(cast("list[Any]", fact)) if isinstance(fact, (list, tuple)) else []
        while len(facts) < least:
            facts.append(None)
        return [self.value(items, key, scope, one) for one in facts[:most]]

    def _number(self, schema: Body, fact: object) -> float:
        if isinstance(fact, str) and (digits := re.search(r"\d+(\.\d+)?", fact)):
            fact = float(digits.group())
        known = isinstance(fact, (int, float)) and not isinstance(fact, bool)
        number: float = cast("float", fact) if known else self.random.randint(1, 10)
        number = min(max(number, schema.get("minimum", number)), schema.get("maximum", number))
        return round(number) if schema["type"] == "integer" else number

    def _text(self, key: str, scope: ChainMap[str, Any], fact: object) -> str:
        if isinstance(fact, tuple):
            fact = cast("tuple[object, ...]", fact)[0]
        if isinstance(fact, str):
            return fact
        if isinstance(fact, (int, float)):
            grams = _plain(key) in ("protein", "carbs", "carbohydrates", "fat", "fiber", "sugar")
            return f"{fact:g}g" if grams else f"{fact:g}"
        if isinstance(fact, list):
            return ", ".join(str(one) for one in cast("list[object]", fact))
        return str(scope.get("onesentenceteaser", ""))

    def _choice(self, enum: list[object], fact: object) -> object:
        """The choice a fact (or one of several spellings of it) names, else a middle one."""
        spellings = cast("tuple[object, ...]", fact if isinstance(fact, tuple) else (fact,))
        levels = {"easy": "beginner", "medium": "intermediate", "hard": "advanced"}
        for spelling in spellings:
            for wanted in (str(spelling).lower(), levels.get(str(spelling), "")):
                for choice in enum:
                    if str(choice).lower() == wanted:
                        return choice
        return enum[len(enum) // 2]


def _has_list_of_dishes(schema: Body) -> bool:
    properties = cast("dict[str, Body]", schema["properties"])
    return any(
        inner.get("type") == "array" and _describes(inner["items"], "title")
        for inner in properties.values()
    )


def _describes(schema: Body, key: str) -> bool:
    return key in schema.get("properties", {})


def _plain(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "", key.lower())
