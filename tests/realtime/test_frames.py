"""The codec of plain frames."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cookcam.json_parsing import JsonTooDeep
from cookcam.realtime.frames import (
    MAX_FRAME,
    Frame,
    InvalidFrame,
    MalformedFrame,
    decode_frame,
    encode_frame,
    is_too_large,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def test_a_frame_has_an_event_and_may_have_data_and_an_id():
    assert decode_frame('{"event":"x"}') == Frame("x")
    assert decode_frame('{"event":"x","data":null,"id":null}') == Frame("x")
    text = '{"id":7,"data":{"a":1},"event":"x","more":2}'
    assert decode_frame(text) == Frame("x", {"a": 1}, 7)
    assert decode_frame('{"event":"x","data":[1],"id":"7"}') == Frame("x", [1], "7")


def test_frame_that_is_too_deep_has_its_own_error():
    with pytest.raises(JsonTooDeep):
        decode_frame('{"event":"x","data":' + "[" * 5_000)


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '"x"', "1", "NaN", "\ud800"])
def test_what_is_no_object_is_malformed(text: str):
    with pytest.raises(MalformedFrame):
        decode_frame(text)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("{}", "event"),
        ('{"event":null}', "event"),
        ('{"event":1}', "event"),
        ('{"event":""}', "event"),
        ('{"event":"%s"}' % ("x" * 129), "event"),
        ('{"event":"x","id":1.5}', "id"),
        ('{"event":"x","id":true}', "id"),
        ('{"event":"x","id":[]}', "id"),
        ('{"event":"x","id":"%s"}' % ("1" * 65), "id"),
        ('{"event":"x","id":123456789012345678901234567890}', "id"),
    ],
)
def test_a_wrong_field_is_named(text: str, field: str):
    with pytest.raises(InvalidFrame) as error:
        decode_frame(text)
    assert error.value.field == field


def test_invalid_frame_error_has_the_id():
    with pytest.raises(InvalidFrame) as error:
        decode_frame('{"id":"7"}')
    assert error.value.id == "7"


def test_response_repeats_the_id_unchanged():
    assert encode_frame("x", {}) == '{"event":"x","data":{}}'
    assert encode_frame("x", {}, "7") == '{"event":"x","data":{},"replyTo":"7"}'
    assert encode_frame("x", {}, 0) == '{"event":"x","data":{},"replyTo":0}'
    for number in (2**64 - 1, -(2**63)):
        frame = decode_frame(json.dumps({"event": "x", "id": number}))
        assert json.loads(encode_frame("x", {}, frame.id))["replyTo"] == number


@given(st.text() | JSON.map(json.dumps))
def test_only_the_declared_errors_are_raised(text: str):
    with suppress(MalformedFrame, InvalidFrame):
        decode_frame(text)


@given(JSON)
def test_the_event_and_data_survive(data: object):
    text = json.dumps({"event": "x", "data": data})
    with suppress(MalformedFrame):  # NaN and infinities are no JSON
        assert decode_frame(text) == Frame("x", json.loads(text)["data"])


@given(st.integers(-3, 3), st.sampled_from(["a", "é", "水", "😀"]))
def test_size_is_counted_in_bytes(over: int, character: str):
    width = len(character.encode())
    text = "a" * ((MAX_FRAME + over) % width) + character * ((MAX_FRAME + over) // width)
    assert len(text.encode()) == MAX_FRAME + over
    assert is_too_large(text) == (over > 0)
