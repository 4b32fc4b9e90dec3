"""Every way a request can fail, and the one shape of all answers to it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
import trio

from cookcam import errors
from cookcam.http.errors import as_app_error, error_response, malformed_request, socket_error
from cookcam.http.request_info import RequestInfo
from cookcam.http.responses import RawResponse
from tests.http.client import OURS
from tests.http.failing import FAILURES, RAISED, SECRET, failing_routes


@pytest.fixture(params=["our server", "another server"])
def site(request: pytest.FixtureRequest, make_site: Any) -> Any:
    site = make_site(failing_routes())
    site.extensions = OURS if request.param == "our server" else {}
    return site


@pytest.mark.parametrize(
    ("where", "how", "status", "code"),
    [failure[1:] for failure in FAILURES],
    ids=[failure[0] for failure in FAILURES],
)
async def test_every_failure_has_the_one_shape(
    site: Any, autojump_clock: Any, where: tuple[str, str], how: Any, status: int, code: str
) -> None:
    reply = await site.client().request(*where, x_request_id="the-request", **how)
    assert reply.status == status
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    assert int(reply.headers["content-length"]) == len(reply.body)
    assert reply.headers["x-request-id"] == "the-request"
    body = reply.json()
    assert body.keys() >= {
        "error",
        "message",
        "code",
        "statusCode",
        "requestId",
        "timestamp",
        "path",
    }
    assert (body["code"], body["statusCode"]) == (code, status)
    assert body["requestId"] == "the-request"
    assert body["path"] == where[1].partition("?")[0]
    assert isinstance(body["error"], str)
    assert isinstance(body["message"], str)
    assert body["timestamp"].endswith("Z")
    datetime.fromisoformat(body["timestamp"])
    assert SECRET not in reply.body.decode()
    assert "Traceback" not in reply.body.decode()


async def test_unknown_route_is_named_in_the_error(site: Any) -> None:
    body = (await site.client().request("PUT", "/api/v1/Nowhere?q=1")).json()
    assert body["message"] == "Cannot PUT /api/v1/Nowhere"
    assert body["error"] == "NOT_FOUND"


async def test_duplicate_entry_has_the_shape_that_clients_read(site: Any) -> None:
    body = (await site.client().get("/api/v1/raise/duplicate")).json()
    wanted = {"error": "DUPLICATE_ENTRY", "message": "Resource already exists", "statusCode": 409}
    assert wanted.items() <= body.items()


async def test_a_flagged_endpoint_says_success_false_and_its_own_literal(site: Any) -> None:
    client = site.client()
    bug = (await client.get("/api/v1/flagged/bug")).json()
    assert (bug["success"], bug["error"]) == (False, "Failed to fetch recipes")
    assert bug["code"] == "INTERNAL_ERROR"
    no_table = (await client.get("/api/v1/flagged/no-table")).json()
    assert (no_table["error"], no_table["code"]) == ("Failed to fetch recipes", "DATABASE_ERROR")
    down = (await client.get("/api/v1/flagged/unavailable")).json()
    assert (down["success"], down["error"]) == (False, "SERVICE_UNAVAILABLE")
    page = (await client.get("/api/v1/list?limit=101")).json()
    assert (page["success"], page["error"]) == (False, "Invalid limit parameter (1-100)")


async def test_headers_of_a_failure_are_sent(site: Any) -> None:
    client = site.client()
    assert (await client.get("/api/v1/raise/expired")).headers["www-authenticate"] == "Bearer"
    assert (await client.get("/api/v1/raise/unavailable")).headers["retry-after"] == "2"
    limited = await client.get("/api/v1/raise/limited")
    assert (limited.headers["retry-after"], limited.json()["retryAfter"]) == ("7", 7)


async def test_only_faults_are_reported_with_their_request(site: Any) -> None:
    client = site.client()
    for name in ("missing", "unavailable", "deadline", "limited", "duplicate"):
        await client.get(f"/api/v1/raise/{name}")
    assert site.reports.captured == []
    await client.get("/api/v1/raise/bug?q=1", x_request_id="r1")
    [(error, about)] = site.reports.captured
    assert error is RAISED["bug"][0]
    assert about.path == "/api/v1/raise/{name}"
    assert (about.request_id, about.query, about.method) == ("r1", "q=1", "GET")


@pytest.mark.parametrize(
    ("value", "details", "message"),
    [
        ({}, {"field": "title", "rule": "is required"}, "title is required"),
        (
            {"title": "Xy"},
            {"field": "title", "rule": "must have at least 3 characters"},
            "title must have at least 3 characters",
        ),
        (
            {"title": "Xyz", "servings": SECRET},
            {"field": "servings", "rule": "must be a whole number"},
            "servings must be a whole number",
        ),
        (
            {"title": "Xyz", "difficulty": SECRET},
            {"field": "difficulty", "rule": "must be one of the allowed values"},
            "difficulty must be one of the allowed values",
        ),
    ],
)
async def test_a_validation_failure_names_field_and_rule_and_never_the_value(
    site: Any, value: Any, details: Any, message: str
) -> None:
    reply = await site.client().post("/api/v1/recipes", value)
    assert reply.json()["details"] == details
    assert reply.json()["message"] == message
    assert SECRET not in reply.body.decode()


async def test_the_words_of_a_models_own_check_are_not_shown(site: Any) -> None:
    reply = await site.client().post("/api/v1/picky", {"name": SECRET})
    assert (reply.status, reply.json()["code"]) == (400, "VALIDATION_ERROR")
    assert SECRET not in reply.body.decode()


async def test_failing_request_does_not_affect_the_next(site: Any) -> None:
    client = site.client()
    await client.get("/api/v1/raise/bug")
    assert (await client.get("/api/v1/fine")).json() == {"fine": True}


async def test_a_failure_behind_the_edge_is_answered_by_the_edge(make_site: Any) -> None:
    site = make_site()

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError(SECRET)

    site.edge._app = broken
    reply = await site.client().get("/socket.io/")
    assert (reply.status, reply.json()["code"]) == (500, "INTERNAL_ERROR")
    assert reply.headers["x-frame-options"] == "DENY"
    assert len(site.reports.captured) == 1


async def test_a_failure_in_the_middle_of_an_answer_is_passed_on(make_site: Any) -> None:
    site = make_site()

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError(SECRET)

    site.edge._app = broken
    with pytest.raises(RuntimeError):
        await site.client().get("/")
    assert len(site.reports.captured) == 1


async def test_cancellation_is_no_failure(make_site: Any, autojump_clock: Any) -> None:
    site = make_site(failing_routes())
    for site.extensions in (OURS, {}):
        with trio.move_on_after(1) as scope:
            await site.client().get("/api/v1/usual")
        assert scope.cancelled_caught
    assert site.reports.captured == []


@pytest.mark.parametrize(("exc", "status", "code"), RAISED.values(), ids=list(RAISED))
def test_a_socket_event_fails_with_the_same_code_and_words(
    exc: BaseException, status: int, code: str
) -> None:
    request_info = RequestInfo("r", "", "GET", "/", 0.0)
    response = error_response(exc, request_info)
    reported = socket_error(exc)
    assert response.status == status
    assert reported["code"] == code
    assert reported["message"] == msgspec.json.decode(response.body)["message"]
    assert SECRET not in str(reported)


def test_a_socket_event_tells_the_details() -> None:
    reported = socket_error(errors.ValidationError.of("step", "is required"))
    assert reported["details"] == {"field": "step", "rule": "is required"}


def test_extra_keys_are_at_the_root_and_cannot_replace_ours() -> None:
    exc = errors.AuthorizationError("Full", error="Limit reached", extra={"limit": 5, "code": "x"})
    body = msgspec.json.decode(error_response(exc, RequestInfo("r", "", "GET", "/", 0.0)).body)
    assert (body["limit"], body["code"], body["error"]) == (
        5,
        "AUTHORIZATION_ERROR",
        "Limit reached",
    )


def test_a_request_no_app_ever_saw_gets_the_same_shape() -> None:
    headers, body = malformed_request(431)
    reported = msgspec.json.decode(body)
    assert (reported["statusCode"], reported["code"]) == (431, "BAD_REQUEST")
    assert UUID(dict(headers)[b"x-request-id"].decode()) == UUID(reported["requestId"])
    assert dict(headers)[b"x-frame-options"] == b"DENY"


def test_unexpected_error_gets_a_generic_message() -> None:
    assert as_app_error(OSError(SECRET)).message == "Internal server error"


def test_answers_are_the_documented_triple() -> None:
    status, headers, body = error_response(errors.NotFound(), RequestInfo("", "", "", "", 0.0))
    assert isinstance(RawResponse(status, headers, body), tuple)
