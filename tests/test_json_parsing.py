"""JSON from clients: half surrogates, nesting, and the one declared error."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cookcam.json_parsing import MAX_DEPTH, JsonError, JsonNotFinite, JsonTooDeep, parse_json

ANY_TEXT = st.text(st.characters(codec=None))  # surrogates included
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | ANY_TEXT,
    lambda children: st.lists(children) | st.dictionaries(ANY_TEXT, children),
)


def well_formed(value: Any) -> Any:
    """The value with U+FFFD for each surrogate that is not half of a pair."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [well_formed(item) for item in value]
    if isinstance(value, dict):
        return {well_formed(key): well_formed(item) for key, item in value.items()}
    return value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"pizza \ud83c"', "pizza \ufffd"),
        (r'"\udf55 pizza"', "\ufffd pizza"),
        (r'"\uD83C\uDF55"', "\U0001f355"),
        (r'"\ud83c\ud83c\udf55"', "\ufffd\U0001f355"),
        (r'"\udf55\ud83c"', "\ufffd\ufffd"),
        (r'"\\ud83c"', r"\ud83c"),
        (r'"\\\ud83c"', "\\\ufffd"),
        (r'{"\ud83c": ["\ud83c", {"a": "\udf55"}]}', {"\ufffd": ["\ufffd", {"a": "\ufffd"}]}),
    ],
)
def test_surrogate_without_its_other_half_becomes_the_replacement_character(text, value):
    assert parse_json(text) == parse_json(text.encode()) == value


@given(ANY_JSON)
def test_any_value_that_javascript_can_serialize_is_read(value):
    text = json.dumps(value)
    expected = json.loads(json.dumps(well_formed(json.loads(text))))
    assert parse_json(text) == expected
    assert parse_json(text.encode()) == expected


@given(st.text() | st.text('"\\u{}[],:dD89aAbcCfF0 '))
def test_what_orjson_reads_is_read_the_same_and_only_json_error_is_raised(text):
    try:
        value = parse_json(text)
    except JsonError:
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(text)
    else:
        orjson.dumps(value)


@given(st.binary())
def test_bytes_raise_nothing_but_json_error(body):
    with suppress(JsonError):
        parse_json(body)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_depth_is_limited(opening, closing):
    def nested(levels: int) -> str:
        inner = opening * (levels - 1) + opening.replace(":", ":1") + closing * levels
        json.loads(inner)
        return inner

    parse_json(nested(MAX_DEPTH))
    for levels in (MAX_DEPTH + 1, 700):
        with pytest.raises(JsonTooDeep):
            parse_json(nested(levels))


@pytest.mark.parametrize("levels", [1_025, 5_000, 400_000])
def test_depth_beyond_the_limit_of_orjson_is_reported_as_depth(levels):
    for text in ("[" * levels + "]" * levels, r'["\ud83c",' + "[" * levels + "]" * (levels + 1)):
        with pytest.raises(JsonTooDeep):
            parse_json(text)


@pytest.mark.parametrize(
    "text", ["NaN", "[-Infinity]", '{"a":1e999}', "9" * 5_000, r'["\ud83c",NaN]', b"[NaN]"]
)
def test_numbers_that_are_not_finite_have_their_own_error(text):
    with pytest.raises(JsonNotFinite):
        parse_json(text)


@pytest.mark.parametrize("text", ["nan", "[NaN", "[NaN}", "+Infinity", "[" * 2_000 + "NaN", "01"])
def test_other_faults_are_not_reported_as_numbers(text):
    with pytest.raises(JsonError) as found:
        parse_json(text)
    assert not isinstance(found.value, JsonNotFinite)


def test_brackets_in_text_are_no_levels():
    assert parse_json(json.dumps(["[" * 200])) == ["[" * 200]
