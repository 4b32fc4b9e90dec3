from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from attrs import field, frozen
from hypothesis import given
from hypothesis import strategies as st
from quart import jsonify

from cookcam.errors import BadRequest, InvalidJson, NotFound, ValidationError
from cookcam.http import (
    Routes,
    parse_uuid,
    query_integers,
    validate_querystring,
    validate_request,
    validate_response,
)
from cookcam.http.bodies import parse_json
from cookcam.http.forms import parse_form
from cookcam.http.responses import to_json
from cookcam.json_parsing import MAX_DEPTH


class Portion(msgspec.Struct):
    grams: int


class Meal(msgspec.Struct):
    title: str = "Untitled"
    portions: int = 1
    note: str | None = "none given"
    tags: list[str] = []
    parts: list[Portion] = []


@frozen
class Search:
    search: str = ""
    calories: int | None = None
    tag: list[str] = field(factory=list[str])


class Out(msgspec.Struct):
    id: UUID
    at: datetime
    disconnected: str | msgspec.UnsetType = msgspec.UNSET


class Strict(msgspec.Struct):
    name: str

    def __post_init__(self) -> None:
        if self.name == "x":
            raise ValidationError.of("name", "must not be x")


ID = UUID("0f8fad5b-d9cb-469f-a165-70867728950e")
AT = datetime(2026, 1, 31, 12, 34, 56, 789012, tzinfo=UTC)


@frozen
class Row:
    id: UUID
    at: datetime
    secret: str = "not in the answer"


def routes() -> Routes:
    bp = Routes("meals", __name__)

    @bp.delete("/meals")
    @bp.put("/meals")
    @bp.post("/meals")
    @validate_request(Meal)
    async def meal(data: Meal) -> Any:
        return msgspec.to_builtins(data), 201, {"Location": "/meals/1"}

    @bp.post("/strict")
    @validate_request(Strict)
    async def strict(data: Strict) -> Any:
        return {}

    @bp.get("/search")
    @validate_querystring(Search)
    async def search(query_args: Search) -> Any:
        return query_args

    @bp.get("/pages")
    @query_integers(limit=20, offset=0, page=1)
    async def pages(limit: int, offset: int, page: int) -> Any:
        return [limit, offset, page]

    @bp.get("/row")
    @validate_response(Out)
    async def row() -> Any:
        return Row(ID, AT)

    @bp.get("/dict")
    @validate_response(Out)
    async def plain() -> Any:
        return {"id": ID, "at": AT, "extra": 1}

    @bp.get("/rows")
    @validate_response(list[Out])
    async def rows() -> Any:
        return [Row(ID, AT)]

    @bp.get("/other-status")
    @validate_response(Out)
    async def other_status() -> Any:
        return {"accepted": True}, 202

    @bp.get("/quart")
    async def quart_response() -> Any:
        return jsonify(at=AT)

    return bp


@pytest.fixture
def client(make_site: Any) -> Any:
    return make_site(routes()).client()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("headers", [{}, {"content_type": "application/json"}])
async def test_no_body_is_an_empty_object(client: Any, method: str, headers: Any) -> None:
    reply = await client.request(method, "/api/v1/meals", **headers)
    assert (reply.status, reply.json()["title"]) == (201, "Untitled")
    assert reply.headers["location"] == "/meals/1"


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/a+json",
    ],
)
async def test_json_types_are_read(client: Any, kind: str) -> None:
    reply = await client.post("/api/v1/meals", {"title": "Ü"}, content_type=kind)
    assert reply.json()["title"] == "Ü"


async def test_unknown_keys_are_ignored(client: Any) -> None:
    sent = {"title": "Soup", "platform": "ios", "metadata": {"a": [1]}}
    assert (await client.post("/api/v1/meals", sent)).json()["title"] == "Soup"


async def test_null_means_left_out_where_null_is_no_value(client: Any) -> None:
    sent = {"title": None, "portions": None, "note": None, "tags": None}
    made = (await client.post("/api/v1/meals", sent)).json()
    assert (made["title"], made["portions"], made["tags"]) == ("Untitled", 1, [])
    assert made["note"] is None


@pytest.mark.parametrize(
    ("escaped", "title"),
    [
        ("pizza \\ud83c", "pizza \N{REPLACEMENT CHARACTER}"),
        ("\\ud83c\\udf55", "\N{SLICE OF PIZZA}"),
    ],
)
async def test_half_a_surrogate_pair_is_read_as_the_replacement_character(
    client: Any, escaped: str, title: str
) -> None:
    body = f'{{"title":"{escaped}"}}'.encode()
    reply = await client.post("/api/v1/meals", body=body, content_type="application/json")
    assert (reply.status, reply.json()["title"]) == (201, title)


@pytest.mark.parametrize("levels", [65, 700, 5_000])
async def test_json_that_is_too_deep_is_a_400_with_the_reason(client: Any, levels: int) -> None:
    body = b'{"unknown":' + b"[" * levels + b"]" * levels + b"}"
    reply = await client.post("/api/v1/meals", body=body, content_type="application/json")
    assert (reply.status, reply.json()["code"]) == (400, "INVALID_JSON")
    assert reply.json()["message"] == "The JSON is nested more than 64 levels deep"


async def test_json_is_held_to_its_types_and_a_form_is_not(client: Any) -> None:
    assert (await client.post("/api/v1/meals", {"portions": "2"})).status == 400
    form = await client.post(
        "/api/v1/meals",
        body=b"title=Soup&portions=2&tags[]=hot&tags[]=thin",
        content_type="application/x-www-form-urlencoded",
    )
    assert (form.json()["portions"], form.json()["tags"]) == (2, ["hot", "thin"])


async def test_strings_arrive_as_they_were_sent(client: Any) -> None:
    title = "  <b>below 40 C < safe</b> \\u0000 "
    assert (await client.post("/api/v1/meals", {"title": title})).json()["title"] == title


async def test_a_failure_deep_inside_is_named(client: Any) -> None:
    reply = await client.post("/api/v1/meals", {"parts": [{"grams": 1}, {}]})
    assert reply.json()["details"] == {"field": "parts[1].grams", "rule": "is required"}


async def test_a_model_may_raise_its_own_failure(client: Any) -> None:
    reply = await client.post("/api/v1/strict", {"name": "x"})
    assert reply.json()["details"] == {"field": "name", "rule": "must not be x"}


async def test_the_query_is_converted(client: Any) -> None:
    reply = await client.get("/api/v1/search?search=a%26b&calories=50&tag=x&tag=y&more=1")
    assert reply.json() == {"search": "a&b", "calories": 50, "tag": ["x", "y"]}
    assert (await client.get("/api/v1/search?calories=many")).status == 400


async def test_page_parameters_have_defaults(client: Any) -> None:
    assert (await client.get("/api/v1/pages")).json() == [20, 0, 1]
    assert (await client.get("/api/v1/pages?limit=100&offset=7&page=3")).json() == [100, 7, 3]


@pytest.mark.parametrize("name", ["limit", "offset", "page"])
@pytest.mark.parametrize("text", ["-1", "abc", "", "1.0", "1e2", "%2B1", "0x1", "%D9%A1", "9" * 30])
async def test_a_page_parameter_that_is_no_small_number_is_a_400(
    client: Any, name: str, text: str
) -> None:
    literals = {
        "limit": "Invalid limit parameter (1-100)",
        "offset": "Invalid offset parameter",
        "page": "Invalid page parameter",
    }
    reply = await client.get(f"/api/v1/pages?{name}={text}")
    assert (reply.status, reply.json()["error"]) == (400, literals[name])
    assert reply.json()["code"] == "VALIDATION_ERROR"


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "page=0", "limit=1&limit=2"])
async def test_a_page_parameter_out_of_range_is_a_400(client: Any, query: str) -> None:
    assert (await client.get(f"/api/v1/pages?{query}")).status == 400


async def test_an_answer_is_made_of_what_the_model_names(client: Any) -> None:
    wanted = {"id": str(ID), "at": "2026-01-31T12:34:56.789Z"}
    assert (await client.get("/api/v1/row")).json() == wanted
    assert (await client.get("/api/v1/dict")).json() == wanted
    assert (await client.get("/api/v1/rows")).json() == [wanted]


async def test_another_status_is_not_held_to_the_model(client: Any) -> None:
    reply = await client.get("/api/v1/other-status")
    assert (reply.status, reply.json()) == (202, {"accepted": True})


async def test_quarts_own_json_is_the_same(client: Any) -> None:
    reply = await client.get("/api/v1/quart")
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    assert reply.json() == {"at": "2026-01-31T12:34:56.789Z"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), b"null"),
        (float("inf"), b"null"),
        (Decimal("5.50"), b"5.5"),
        (Decimal("NaN"), b"null"),
        (AT.astimezone(timezone(timedelta(hours=2))), b'"2026-01-31T12:34:56.789Z"'),
        (date(2026, 1, 31), b'"2026-01-31"'),
        (ID, b'"0f8fad5b-d9cb-469f-a165-70867728950e"'),
        (Portion(5), b'{"grams":5}'),
        ({"a": [Decimal(1)]}, b'{"a":[1.0]}'),
        ("<é>", '"<é>"'.encode()),
    ],
)
def test_values_as_json(value: Any, text: bytes) -> None:
    assert to_json(value) == text


def test_a_model_must_be_a_model() -> None:
    with pytest.raises(TypeError, match="Struct"):
        validate_request(dict)


def test_an_id_that_is_no_uuid_is_the_endpoints_404() -> None:
    assert parse_uuid(str(ID), NotFound()) == ID
    for text in ("1", "", "x" * 36, f"{{{ID}}}", ID.hex, f"urn:uuid:{ID}"):
        with pytest.raises(NotFound, match="Recipe not found"):
            parse_uuid(text, NotFound("Recipe not found"))


@pytest.mark.parametrize(
    ("body", "form"),
    [
        (b"", {}),
        (b"a=1&b=", {"a": "1", "b": ""}),
        (b"a=1&a=2", {"a": ["1", "2"]}),
        (b"a[]=1", {"a": ["1"]}),
        (b"a[b][c]=1&a[b][d]=2", {"a": {"b": {"c": "1", "d": "2"}}}),
        (b"a[b][]=1&a[b][]=2", {"a": {"b": ["1", "2"]}}),
        (b"a%5Bb%5D=%C3%BC+x", {"a": {"b": "ü x"}}),
        (b"a[=1", {"a[": "1"}),
        (b"[a]=1", {"[a]": "1"}),
    ],
)
def test_forms(body: bytes, form: Any) -> None:
    assert parse_form(body) == form


@pytest.mark.parametrize(
    "body",
    [
        b"a=1&a[b]=2",
        b"a[b]=2&a=1",
        b"a[]=1&a[b]=2",
        b"a[b][c][d][e][f]=1",
        b"a=%FF",
        b"\xff=1",
        b"&".join(b"a%d=1" % n for n in range(1001)),
    ],
)
def test_forms_that_make_no_sense_are_rejected(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_form(body)


@given(st.text(alphabet="ab[]=&%5D1", max_size=40))
def test_any_form_is_read_or_rejected(text: str) -> None:
    with suppress(BadRequest):
        parse_form(text.encode())


async def test_a_whole_number_may_be_written_as_a_fraction(make_site: Any) -> None:
    """JSON has one kind of number; 2.5 is no whole one, and a text is none at all."""
    bp = Routes("meals", __name__)

    @bp.post("/whole")
    @validate_request(Meal)
    async def whole(data: Meal) -> Any:
        return data

    client = make_site(bp).client()
    reply = await client.post("/api/v1/whole", {"portions": 2.0, "parts": [{"grams": 30.0}]})
    assert (reply.status, reply.json()["portions"], reply.json()["parts"]) == (
        200,
        2,
        [{"grams": 30}],
    )
    for portions in (2.5, "2", 1e300):
        assert (await client.post("/api/v1/whole", {"portions": portions})).status == 400


def nested(levels: int, kind: str = "[") -> bytes:
    opening, closing = (b"[", b"]") if kind == "[" else (b'{"a":', b"}")
    return opening * levels + b"1" + closing * levels


@pytest.mark.parametrize("levels", [65, 66, 700, 1023, 1025, 100_000])
@pytest.mark.parametrize("kind", ["[", "{"])
async def test_deeply_nested_json_is_rejected_with_400(client, levels: int, kind: str) -> None:
    reply = await client.post(
        "/api/v1/meals",
        body=b'{"parts":' + nested(levels - 1, kind) + b"}",
        content_type="application/json",
    )
    assert (reply.status, reply.json()["code"]) == (400, "INVALID_JSON")


@given(
    st.recursive(
        st.text(max_size=5) | st.integers(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    ),
    st.integers(0, 80),
)
def test_depth_of_json_is_bounded_exactly(value: Any, wrapped: int) -> None:
    for _ in range(wrapped):
        value = [value, "[{"]
    text = msgspec.json.encode(value)
    if depth_of(value) <= MAX_DEPTH:
        assert parse_json(text) == value
    else:
        with pytest.raises(InvalidJson):
            parse_json(text)


def depth_of(value: Any) -> int:
    children = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth_of, children), default=0) if isinstance(value, dict | list) else 0
