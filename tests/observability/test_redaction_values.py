"""Redaction of values: no secret survives any nesting or notation, everything else does."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st

from cookcam.observability.redaction import REDACTED, Limits, redact
from tests.observability.seeds import Seeds

SECRET_KEYS = [
    *("password", "confirmPassword", "access_token", "refreshToken", "x-api-key", "Set-Cookie"),
    *("APPLE_SHARED_SECRET", "purchaseToken", "stripe_token", "receipt", "image_data", "anonKey"),
    *("Authorization", "DATABASE_URL", "socialSecurityNumber", "apikey", "clientsecret"),
]
MARK = "Zq7Xw9Kv"

# A secret with everything in it that could end it early in some notation.
secret_texts = st.text(alphabet="ab1 '\"\\\n\t,;&=:)]}>{([<%/é", max_size=12).map(
    lambda noise: f"{MARK}{noise}{MARK}"
)
plain_keys = st.sampled_from(
    ["title", "steps", "servings", "duration_ms", "tokenizer", "statusCode"]
)
plain_texts = st.text(alphabet="abcdefgh XYZ019.,!?/é", max_size=20)
plain_leaves = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | plain_texts


@define
class Login:
    email: str
    password: str


class Colour(Enum):
    RED = "red"


def shaped(mark: str) -> st.SearchStrategy[str]:
    return st.sampled_from(
        [
            f"Bearer {mark}",
            f"eyJhbGciOiJI.{mark}.{mark}",
            f"sk_live_{mark}",
            f"whsec_{mark}",
            f"sk-{mark}",
            f"{mark}@example.org",
            f"postgresql://{mark}:{mark}@host/db",
            f"GET /x?token={mark}&page=2",
            f"GET /x?code={mark}",
            f"seti_1_secret_{mark}",
            f"Cookie: theme=dark; sid={mark}",
            f"authorization: Digest {mark}",
        ]
    )


def seeded(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values that hold a secret: under a key, as a pair, in a text, in a value that holds one."""
    holders = st.sampled_from(
        [
            lambda v: [v],
            lambda v: (1, v, "x"),
            lambda v: {"steps": v},
            lambda v: {"steps": [{"title": v}]},
            lambda v: json.dumps(v, default=str),
            lambda v: json.dumps(v, default=str).encode(),
            repr,
            lambda v: f"could not parse {v!r} at 3",
            lambda v: ValueError(v),
            lambda v: {"error": ValueError(f"bad input: {v!r}")},
        ]
    )
    return st.builds(lambda hold, value: hold(value), holders, children)


secrets_under_keys = st.one_of(
    st.builds(lambda k, v: {k: v, "title": "soup"}, st.sampled_from(SECRET_KEYS), secret_texts),
    st.builds(lambda k, v: {k: [v, {"deep": v}]}, st.sampled_from(SECRET_KEYS), secret_texts),
    st.builds(lambda k, v: [(k, v), ("accept", "*/*")], st.sampled_from(SECRET_KEYS), secret_texts),
    st.builds(lambda k, v: [(k.encode(), v.encode())], st.sampled_from(SECRET_KEYS), secret_texts),
    st.builds(lambda k, v: {"field": k, "value": v}, st.sampled_from(SECRET_KEYS), secret_texts),
    st.builds(lambda v: Login("ann", v), secret_texts),
)


@settings(max_examples=200, deadline=None)
@given(st.recursive(secrets_under_keys | shaped(MARK), seeded, max_leaves=4))
def test_a_secret_survives_in_no_nesting_and_no_notation(value: object) -> None:
    assert MARK not in json.dumps(redact(value))


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        plain_leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(plain_keys, inner, max_size=4),
        max_leaves=20,
    )
)
def test_what_is_not_secret_survives_unchanged(value: object) -> None:
    assert redact(value, Limits(depth=30)) == value


@settings(max_examples=100, deadline=None)
@given(st.recursive(secrets_under_keys | shaped(MARK), seeded, max_leaves=3))
def test_redacting_twice_changes_nothing_more(value: object) -> None:
    once = redact(value)
    assert redact(once) == once


@pytest.mark.parametrize("length", [0, 40, 8100, 8180, 8190, 8200, 20_000])
def test_a_secret_across_the_cut_of_a_long_text_does_not_survive(length: int) -> None:
    for secret in (f"Bearer {MARK}", f"{MARK}@example.org", f"password='{MARK}", f"x:{MARK}@h"):
        assert "Zq7X" not in str(redact("." * length + " http://" + secret))
        assert "Zq7X" not in str(redact("." * length + " " + secret.replace("x:", "://x:")))


def test_a_known_secret_is_taken_out_of_the_rest_of_the_value() -> None:
    secret = Seeds().password
    value = {"body": {"password": secret}, "error": ValueError(f"no user with {secret}")}
    assert redact(value) == {
        "body": {"password": REDACTED},
        "error": f"ValueError: no user with {REDACTED}",
    }


def test_a_password_that_is_the_name_of_a_field_does_not_cost_the_field() -> None:
    value = {"message": "the message", "body": {"password": "message"}}
    assert redact(value) == {"message": f"the {REDACTED}", "body": {"password": REDACTED}}


def test_booleans_and_numbers_under_a_secret_key_pass() -> None:
    value = {"hasJwtSecret": True, "passwordLength": 12, "tokenCount": 531, "secret": None}
    assert redact(value) == value


def test_a_secret_made_of_digits_does_not_pass() -> None:
    value = {"cvv": 123, "cardNumber": 4242424242424242, "password": 12345678, "ssn": 1}
    assert set(redact(value).values()) == {REDACTED}  # type: ignore[union-attr]


def test_a_name_is_personal_only_beside_what_belongs_to_a_person() -> None:
    assert redact({"name": "sweep", "seconds": 2}) == {"name": "sweep", "seconds": 2}
    assert redact({"name": "Ann Smith", "email": "x"}) == {"name": REDACTED, "email": REDACTED}


def test_other_types_become_plain_json() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
    identifier = UUID(int=1)
    value = {
        "moment": moment,
        "day": date(2026, 1, 2),
        "id": identifier,
        "price": Decimal("1.20"),
        "colour": Colour.RED,
        "file": PurePosixPath("/a/b"),
        "text": b"plain",
        "photograph": b"\xff\xd8\x00\x01",
        "error": ValueError("wrong"),
        "set": {1},
        "thing": Login("a", "b"),
        7: "seven",
        b"bytes": 1,
    }
    assert redact(value) == {
        "moment": "2026-01-02T03:04:05.678000+00:00",
        "day": "2026-01-02",
        "id": str(identifier),
        "price": "1.20",
        "colour": "red",
        "file": "/a/b",
        "text": "plain",
        "photograph": "[4 bytes]",
        "error": "ValueError: wrong",
        "set": [1],
        "thing": f"Login(email='{REDACTED}', password='{REDACTED}')",
        "7": "seven",
        "bytes": 1,
    }


def test_data_that_became_keys_is_redacted_and_counted_apart() -> None:
    assert redact({"ann@example.org": 1, "bob@example.org": 2}) == {
        REDACTED: 1,
        f"{REDACTED} (1)": 2,
    }


def test_depth_and_size_are_bounded() -> None:
    deep: Any = "bottom"
    for _ in range(1000):
        deep = [deep]
    circle: dict[str, Any] = {}
    circle["self"] = circle
    wide = {f"field{n}": n for n in range(5000)}
    for value in (deep, circle, wide, list(range(5000)), "x" * 10**6, [wide] * 100):
        assert len(json.dumps(redact(value))) < 50_000
    assert redact(wide)["..."] == "4000 more"  # type: ignore[index, call-overload]


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __str__(self) -> str:
        raise RuntimeError("no str")


class HostileError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no str")


class HostileList(list[int]):
    def __iter__(self) -> Any:
        raise RuntimeError("no items")


@pytest.mark.parametrize(
    "value", [Hostile(), {"a": Hostile()}, {Hostile(): 1}, HostileError(), HostileList([1]), object]
)
def test_it_never_raises(value: object) -> None:
    json.dumps(redact(value))
