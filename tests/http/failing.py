"""A throwaway blueprint that fails in every way a request can, and what is to come of each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import trio
from quart import abort, request

from cookcam import errors
from cookcam.http import (
    Routes,
    deadline,
    errors_as,
    query_integers,
    validate_request,
    validate_response,
)

SECRET = "hunter2-secret"


class Recipe(msgspec.Struct):
    title: Annotated[str, msgspec.Meta(min_length=3)]
    servings: int = 1
    difficulty: Literal["easy", "hard"] = "easy"


class Picky(msgspec.Struct):
    name: str

    def __post_init__(self) -> None:
        raise ValueError(f"no {self.name} here")


RAISED: dict[str, tuple[BaseException, int, str]] = {
    "authentication": (errors.AuthenticationError(), 401, "AUTHENTICATION_ERROR"),
    "expired": (errors.TokenExpired(), 401, "TOKEN_EXPIRED"),
    "payment": (errors.PaymentError(), 402, "PAYMENT_ERROR"),
    "forbidden": (errors.InsufficientPermissions(), 403, "INSUFFICIENT_PERMISSIONS"),
    "missing": (errors.NotFound("No such recipe"), 404, "NOT_FOUND"),
    "duplicate": (errors.from_database_code("23505"), 409, "DUPLICATE_ENTRY"),
    "foreign-key": (errors.from_database_code("23503"), 400, "FOREIGN_KEY_ERROR"),
    "check": (errors.from_database_code("23514"), 400, "CONSTRAINT_VIOLATION"),
    "retry": (errors.from_database_code("40001"), 409, "TRANSACTION_CONFLICT"),
    "no-table": (errors.from_database_code("42P01"), 500, "DATABASE_ERROR"),
    "limited": (errors.RateLimited(retry_after=7), 429, "RATE_LIMIT_ERROR"),
    "provider-key": (errors.ServiceAuthError(), 500, "SERVICE_AUTH_ERROR"),
    "provider": (errors.ServiceError(), 502, "SERVICE_ERROR"),
    "overloaded": (errors.from_database_code("53300"), 503, "SERVICE_OVERLOADED"),
    "unavailable": (errors.ServiceUnavailable(), 503, "SERVICE_UNAVAILABLE"),
    "deadline": (errors.DeadlineExceeded(), 504, "DEADLINE_EXCEEDED"),
    "too-slow": (trio.TooSlowError(), 504, "DEADLINE_EXCEEDED"),
    "bug": (ValueError(SECRET), 500, "INTERNAL_ERROR"),
    "group": (ExceptionGroup("", [errors.NotFound("gone")]), 404, "NOT_FOUND"),
    "nested-group": (
        ExceptionGroup("", [ExceptionGroup("", [errors.Conflict()])]),
        409,
        "CONFLICT_ERROR",
    ),
    "two-known": (
        ExceptionGroup("", [errors.ServiceUnavailable(), errors.NotFound()]),
        503,
        "SERVICE_UNAVAILABLE",
    ),
    "group-with-a-bug": (
        ExceptionGroup("", [errors.ServiceUnavailable(), KeyError(SECRET)]),
        500,
        "INTERNAL_ERROR",
    ),
}


def failing_routes() -> Routes:
    bp = Routes("failing", __name__)

    @bp.get("/raise/<name>")
    async def raise_it(name: str) -> Any:
        raise RAISED[name][0]

    @bp.get("/flagged/<name>")
    @errors_as(flagged=True, unexpected="Failed to fetch recipes")
    async def flagged(name: str) -> Any:
        raise RAISED[name][0]

    @bp.get("/abort/<int:status>")
    async def abort_it(status: int) -> Any:
        abort(status)

    @bp.post("/recipes")
    @validate_request(Recipe)
    async def create(data: Recipe) -> Any:
        return {"title": data.title}, 201

    @bp.post("/picky")
    @validate_request(Picky)
    async def picky(data: Picky) -> Any:
        return {}

    @bp.post("/own")
    async def own() -> Any:
        return await request.get_json()

    @bp.get("/list")
    @errors_as(flagged=True)
    @query_integers(limit=20, offset=0, page=1)
    async def listing(**page: int) -> Any:
        return page

    @bp.get("/slow")
    @deadline(3)
    async def slow() -> Any:
        await trio.sleep(4)

    @bp.get("/usual")
    async def usual() -> Any:
        await trio.sleep_forever()

    @bp.get("/wrong-answer")
    @validate_response(Recipe)
    async def wrong_answer() -> Any:
        return {"title": 5}

    @bp.get("/unsayable")
    async def unsayable() -> Any:
        return {"it": object()}

    @bp.get("/nursery")
    async def nursery() -> Any:
        async with trio.open_nursery() as inner:
            inner.start_soon(trio.sleep_forever)
            raise errors.Conflict()

    @bp.get("/nothing")
    async def nothing() -> Any:
        return None

    @bp.get("/fine")
    async def fine() -> Any:
        return {"fine": True}

    return bp


JSON = {"content_type": "application/json"}

FAILURES: list[tuple[str, tuple[str, str], dict[str, Any], int, str]] = [
    ("bad JSON", ("POST", "/api/v1/recipes"), {"body": b"{no", **JSON}, 400, "INVALID_JSON"),
    (
        "not UTF-8",
        ("POST", "/api/v1/recipes"),
        {"body": b'{"\xff":1}', **JSON},
        400,
        "INVALID_JSON",
    ),
    ("NaN", ("POST", "/api/v1/recipes"), {"body": b'{"a":NaN}', **JSON}, 400, "INVALID_JSON"),
    ("a scalar", ("POST", "/api/v1/recipes"), {"body": b'"text"', **JSON}, 400, "INVALID_JSON"),
    ("read by hand", ("POST", "/api/v1/own"), {"body": b"{no", **JSON}, 400, "INVALID_JSON"),
    ("an array", ("POST", "/api/v1/recipes"), {"body": b"[]", **JSON}, 400, "VALIDATION_ERROR"),
    ("no body", ("POST", "/api/v1/recipes"), {}, 400, "VALIDATION_ERROR"),
    ("wrong type", ("POST", "/api/v1/recipes"), {"value": {"title": 1}}, 400, "VALIDATION_ERROR"),
    ("NUL", ("POST", "/api/v1/recipes"), {"value": {"title": "a\0bc"}}, 400, "VALIDATION_ERROR"),
    ("NUL in the query", ("GET", "/api/v1/list?q=%00"), {}, 400, "BAD_REQUEST"),
    ("raw bytes in the query", ("GET", "/api/v1/list?q=\u00ff"), {}, 400, "BAD_REQUEST"),
    ("bad page", ("GET", "/api/v1/list?page=0"), {}, 400, "VALIDATION_ERROR"),
    ("unknown route", ("GET", "/nowhere"), {}, 404, "NOT_FOUND"),
    ("unknown API route", ("POST", "/api/v1/nowhere"), {}, 404, "NOT_FOUND"),
    ("unsupported method", ("DELETE", "/api/v1/recipes"), {}, 404, "NOT_FOUND"),
    ("OPTIONS", ("OPTIONS", "/api/v1/recipes"), {}, 404, "NOT_FOUND"),
    ("strange method", ("BREW", "/api/v1/recipes"), {}, 404, "NOT_FOUND"),
    ("bad converter", ("GET", "/api/v1/abort/x"), {}, 404, "NOT_FOUND"),
    (
        "too large",
        ("POST", "/api/v1/recipes"),
        {"body": b"x" * (1024 * 1024 + 1), **JSON},
        413,
        "PAYLOAD_TOO_LARGE",
    ),
    (
        "too large in chunks",
        ("POST", "/api/v1/recipes"),
        {"parts": [b" " * 1024 * 512] * 3, **JSON},
        413,
        "PAYLOAD_TOO_LARGE",
    ),
    (
        "unusable type",
        ("POST", "/api/v1/recipes"),
        {"body": b"<r/>", "content_type": "application/xml"},
        415,
        "UNSUPPORTED_MEDIA_TYPE",
    ),
    ("no type", ("POST", "/api/v1/recipes"), {"body": b"{}"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
    ("own deadline", ("GET", "/api/v1/slow"), {}, 504, "DEADLINE_EXCEEDED"),
    ("usual deadline", ("GET", "/api/v1/usual"), {}, 504, "DEADLINE_EXCEEDED"),
    ("wrong answer", ("GET", "/api/v1/wrong-answer"), {}, 500, "INTERNAL_ERROR"),
    ("no JSON form", ("GET", "/api/v1/unsayable"), {}, 500, "INTERNAL_ERROR"),
    ("no answer", ("GET", "/api/v1/nothing"), {}, 500, "INTERNAL_ERROR"),
    ("in a nursery", ("GET", "/api/v1/nursery"), {}, 409, "CONFLICT_ERROR"),
    ("abort 400", ("GET", "/api/v1/abort/400"), {}, 400, "BAD_REQUEST"),
    ("abort 405", ("GET", "/api/v1/abort/405"), {}, 404, "NOT_FOUND"),
    ("abort 413", ("GET", "/api/v1/abort/413"), {}, 413, "PAYLOAD_TOO_LARGE"),
    ("abort 418", ("GET", "/api/v1/abort/418"), {}, 400, "BAD_REQUEST"),
    ("abort 500", ("GET", "/api/v1/abort/500"), {}, 500, "INTERNAL_ERROR"),
    *(
        (f"raised {name}", ("GET", f"/api/v1/raise/{name}"), {}, status, code)
        for name, (_, status, code) in RAISED.items()
    ),
]
