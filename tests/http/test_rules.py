from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from msgspec import Meta

from cookcam.errors import ValidationError
from cookcam.http.validation import to_model

SECRET = "hunter2-secret"


class Colour(Enum):
    RED = "red"


class Inner(msgspec.Struct, tag_field="kind", tag="inner"):
    n: int = 0


class Everything(msgspec.Struct):
    text: Annotated[str, Meta(min_length=3, max_length=5)] = "abc"
    whole: Annotated[int, Meta(ge=1, le=5)] = 1
    open: Annotated[float, Meta(gt=0, lt=1.5)] = 0.5
    even: Annotated[int, Meta(multiple_of=2)] = 2
    form: Annotated[str, Meta(pattern="^a+$")] = "a"
    flag: bool = True
    maybe: int | None = None
    either: int | str = 1
    items: Annotated[list[int], Meta(min_length=1, max_length=2)] = []
    map: dict[str, int] = {}
    keyed: dict[int, int] = {}
    id: UUID | None = None
    level: Literal["easy", "hard"] = "easy"
    colour: Colour = Colour.RED
    inner: Inner | None = None
    binary: bytes = b""


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("text", "ab", "must have at least 3 characters"),
        ("text", SECRET, "must have at most 5 characters"),
        ("text", 5, "must be text"),
        ("whole", 0, "must be at least 1"),
        ("whole", 6, "must be at most 5"),
        ("whole", 1.5, "must be a whole number"),
        ("open", 0, "must be more than 0.0"),
        ("open", 1.5, "must be less than 1.5"),
        ("open", SECRET, "must be a number"),
        ("even", 3, "is not acceptable"),
        ("form", SECRET, "is not acceptable"),
        ("flag", SECRET, "must be true or false"),
        ("maybe", SECRET, "must be a whole number or null"),
        ("either", [], "must be a whole number or text"),
        ("items", [], "must have at least 1 items"),
        ("items", [1, 2, 3], "must have at most 2 items"),
        ("items", SECRET, "must be a list"),
        ("map", [], "must be an object"),
        ("id", SECRET, "must be a UUID"),
        ("level", SECRET, "must be one of the allowed values"),
        ("colour", SECRET, "must be one of the allowed values"),
        ("inner", {"kind": SECRET}, "must be one of the allowed values"),
        ("binary", SECRET, "is not acceptable"),
    ],
)
def test_rejected_rule_is_described_for_users(field: str, value: Any, rule: str) -> None:
    with pytest.raises(ValidationError) as caught:
        to_model({field: value}, Everything, strict=True)
    details = dict(caught.value.details or {})
    assert details["field"].startswith(field)
    assert details["rule"] == rule
    assert SECRET not in str(caught.value)
    assert SECRET not in str(details)


@pytest.mark.parametrize(
    ("value", "field"),
    [({"items": ["a"]}, "items[0]"), ({"map": {SECRET: "a"}}, "map[...]"), ([], "body")],
)
def test_the_place_of_a_failure(value: Any, field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        to_model(value, Everything, strict=True)
    assert dict(caught.value.details or {})["field"] == field
    assert SECRET not in str(caught.value)
