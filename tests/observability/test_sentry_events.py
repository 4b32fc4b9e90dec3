"""How events are grouped and reduced, as data."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any
from uuid import UUID

import psycopg.errors
import pytest
import trio

from cookcam.errors import (
    DatabaseError,
    DuplicateEntry,
    InternalError,
    ServiceError,
    ServiceUnavailable,
    ValidationError,
)
from cookcam.observability.reports import ReportedRequest, reportable
from cookcam.observability.sentry_events import (
    MAX_EVENT_SIZE,
    fingerprint,
    limit_size,
    message_of,
    outline,
    request_section,
    scrub_breadcrumb,
    scrubbed,
)


class StripeCardError(Exception):
    """Named as the provider's errors are."""


class Coded(Exception):
    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "group"),
    [
        (StripeCardError("card declined"), ["stripe-error", "StripeCardError"]),
        (Coded("duplicate", "23505"), ["database-error", "23505"]),
        (Coded("no rows", "PGRST116"), ["database-error", "PGRST116"]),
        (psycopg.errors.DeadlockDetected("x"), ["database-error", "40P01"]),
        (ValueError("Validation failed"), ["validation-error"]),
        (ValueError("invalid id"), ["validation-error"]),
        (KeyError("x"), None),
        # An AppError's own code is no database code.
        (InternalError(), None),
        (DatabaseError(), None),
        (Coded("limit", "rate_limit_exceeded"), None),
    ],
)
def test_each_rule_groups_its_errors(error: BaseException, group: list[str] | None) -> None:
    assert fingerprint(error) == group


@pytest.mark.parametrize(
    ("error", "first"),
    [
        (StripeCardError("invalid card"), "stripe-error"),
        (caused(StripeCardError("x"), Coded("invalid", "23505")), "stripe-error"),
        (caused(Coded("invalid", "23505"), StripeCardError("x")), "stripe-error"),
        (Coded("invalid input syntax", "22P02"), "database-error"),
        (caused(ValueError("invalid"), psycopg.errors.UniqueViolation("x")), "database-error"),
    ],
)
def test_the_first_rule_that_fits_wins(error: BaseException, first: str) -> None:
    group = fingerprint(error)
    assert group is not None
    assert group[0] == first


def test_errors_of_the_real_stripe_library_are_payments() -> None:
    import stripe

    error = caused(ServiceError(), stripe.CardError("invalid number", None, "card_declined"))
    assert fingerprint(error) == ["stripe-error", "CardError"]


def test_translated_errors_keep_the_group_of_their_cause() -> None:
    error = caused(DatabaseError(), psycopg.errors.UndefinedTable("x"))
    assert fingerprint(error) == ["database-error", "42P01"]
    group = ExceptionGroup("tasks", [OSError("x"), Coded("x", "40001")])
    assert fingerprint(group) == ["database-error", "40001"]


def test_a_circle_of_causes_ends() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__context__, second.__context__ = second, first
    assert fingerprint(first) is None


def test_a_clients_own_error_is_not_reported() -> None:
    assert reportable(ValidationError()) is None
    assert reportable(DuplicateEntry()) is None
    assert reportable(BaseExceptionGroup("x", [DuplicateEntry(), ValidationError()])) is None


def test_a_fault_is_reported() -> None:
    for error in (ServiceUnavailable(), InternalError(), ValueError("x")):
        assert reportable(error) is error


async def test_of_a_group_only_the_faults_are_reported() -> None:
    cancelled: list[BaseException] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as error:
            cancelled.append(error)
            raise
    assert reportable(cancelled[0]) is None
    fault = ValueError("x")
    rest = reportable(BaseExceptionGroup("x", [*cancelled, DuplicateEntry(), fault]))
    assert isinstance(rest, ExceptionGroup)
    assert rest.exceptions == (fault,)


def test_a_breadcrumb_is_redacted_and_keeps_its_time() -> None:
    moment = object()
    crumb = {"category": "auth", "timestamp": moment, "data": {"token": "abc"}}
    assert scrub_breadcrumb(crumb) == {
        "category": "auth",
        "timestamp": moment,
        "data": {"token": "[REDACTED]"},
    }


def test_a_user_is_reduced_to_the_id() -> None:
    event = {"user": {"id": 7, "email": "a@b.example", "ip_address": "1.2.3.4"}}
    assert scrubbed(event, "test") == {"user": {"id": "7"}, "tags": {"node_env": "test"}}
    assert "user" not in scrubbed({"user": {"email": "a@b.example"}}, "test")


def test_local_variables_stay_in_frames_of_this_program_only() -> None:
    frames: list[dict[str, Any]] = [
        {"function": "ours", "in_app": True, "vars": {"n": "1", "token": "'abc'"}},
        {"function": "library", "in_app": False, "vars": {"data": "'abc'"}},
        {"function": "unknown", "vars": {"data": "'abc'"}},
    ]
    event = {"exception": {"values": [{"stacktrace": {"frames": frames}}, {"type": "x"}]}}
    safe = scrubbed(event, "test")["exception"]["values"][0]["stacktrace"]["frames"]
    assert [frame.get("vars") for frame in safe] == [
        {"n": "1", "token": "[REDACTED]"},
        None,
        None,
    ]


def test_request_section_has_what_is_listed_and_sizes_of_the_rest() -> None:
    headers = {"x-api-key": "k", "accept": "text/plain", "x-note": "my soup"}
    section = request_section(
        ReportedRequest(
            "POST",
            "/recipes",
            "page=2&search=soup&token=x&sort=my%20soup",
            headers,
            {"title": "my soup", "unknownKey": 1},
        )
    )
    assert section == {
        "method": "POST",
        "url": "/recipes",
        "query_string": [("page", "2")],
        "headers": {"Accept": "text/plain"},
        "data": "dict of 2",
    }
    assert request_section(ReportedRequest("GET", "/", body=b"x" * 7))["data"] == "bytes of 7"


class Course(Enum):
    MAIN = "my main course"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (12, 12),
        (0.5, 0.5),
        (10**40, "int"),
        ("my soup", "str of 7"),
        (b"my soup", "bytes of 7"),
        ({"my": "soup"}, "dict of 1"),
        (["my", "soup"], "list of 2"),
        (Course.MAIN, "Course.MAIN"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (ValueError("my soup"), "ValueError"),
        (Coded("my soup", "1"), "Coded"),
    ],
)
def test_outline_of_a_value_has_no_text_of_anybody(value: object, shown: object) -> None:
    assert outline(value) == shown


def test_outline_runs_no_code_of_the_value() -> None:
    class Hostile(dict[str, str]):
        def __len__(self) -> int:
            raise AssertionError

        __repr__ = __str__ = __len__  # pyright: ignore

    assert outline(Hostile()) == "Hostile"


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (KeyError("my soup"), "'[REDACTED]'"),
        (ValueError("invalid literal for int() with base 10: 'my soup'"), None),
        (ValueError("boom"), "boom"),
        (RuntimeError("the pool's door"), "the pool's door"),
    ],
)
def test_message_has_nothing_that_python_quotes(error: BaseException, shown: str | None) -> None:
    assert "my soup" not in message_of(error)
    assert shown is None or message_of(error) == shown


def test_event_over_the_limit_loses_what_is_least_missed() -> None:
    def event(variables: int, source: int, message: int) -> dict[str, Any]:
        frame = {"function": "f", "in_app": True, "context_line": "x" * source}
        frames = [{**frame, "vars": {"n": "x" * variables}} for _ in range(50)]
        trace = {"frames": frames}
        exception = {"type": "E", "value": "x" * message, "stacktrace": trace}
        return {"event_id": "1", "exception": {"values": [exception] * 10}}

    small = limit_size(event(1, 1, 1))
    assert small == event(1, 1, 1)
    for sizes in ((1000, 1, 1), (1000, 1000, 1), (1000, 1000, 100_000)):
        assert len(json.dumps(limit_size(event(*sizes)))) <= MAX_EVENT_SIZE
    values = limit_size(event(1000, 1, 1))["exception"]["values"]
    assert "vars" not in values[0]["stacktrace"]["frames"][0]
    assert values[0]["stacktrace"]["frames"][0]["context_line"] == "x"
    assert limit_size({"event_id": "1", "other": "x" * 10**6}) == {"event_id": "1"}
