"""Error reports end to end: the real SDK, a real connection, and what arrived at the ingest."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from attrs import frozen

from cookcam.config.secret import Secret
from cookcam.errors import DuplicateEntry, ServiceUnavailable
from cookcam.observability.metrics import Metrics
from cookcam.observability.reports import ErrorReporter, NoReports, ReportedRequest
from cookcam.observability.sentry import MAX_WAITING_REPORTS, open_sentry, traces_sample_rate
from cookcam.observability.sentry_events import (
    MAX_EVENT_SIZE,
    MAX_EXCEPTIONS,
    MAX_FIRST_FRAMES,
    MAX_LAST_FRAMES,
    exception_section,
)
from tests.observability.seeds import Seeds
from tests.support.sentry_ingest import SentryIngest, open_sentry_ingest

RELEASE = "cookcam-api@0123abc"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def ingest() -> AsyncIterator[SentryIngest]:
    async with open_sentry_ingest() as ingest:
        yield ingest


@asynccontextmanager
async def reporting(
    ingest: SentryIngest, environment: str = "test"
) -> AsyncIterator[ErrorReporter]:
    """A reporter; when the block ends, what was reported has arrived."""
    async with open_sentry(dsn=ingest.dsn, environment=environment, release=RELEASE) as reporter:
        yield reporter


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


async def test_an_error_arrives_with_release_environment_and_tag(ingest: SentryIngest) -> None:
    async with reporting(ingest, "staging") as reporter:
        event_id = reporter.capture_exception(raised(ValueError("boom")))
    [event] = ingest.events
    assert event["event_id"] == event_id
    assert event["release"] == RELEASE
    assert event["environment"] == "staging"
    assert event["tags"]["node_env"] == "staging"
    assert not event.get("server_name")
    [exception] = event["exception"]["values"]
    assert (exception["type"], exception["value"]) == ("ValueError", "boom")
    assert ingest.envelopes[0].path == "/api/42/envelope/"


async def test_the_request_and_the_user_id_are_part_of_a_report(ingest: SentryIngest) -> None:
    request = ReportedRequest(
        "POST",
        "/api/v1/recipes/<id>",
        "page=2",
        [("accept", "text/plain")],
        {"title": "Soup"},
        "req-1",
        "user-1",
    )
    async with reporting(ingest) as reporter:
        reporter.capture_exception(raised(ValueError("boom")), request)
        reporter.capture_exception(raised(ValueError("other")))
    event, other = ingest.events
    assert event["request"] == {
        "method": "POST",
        "url": "/api/v1/recipes/<id>",
        "query_string": [["page", "2"]],
        "headers": {"Accept": "text/plain"},
        "data": "dict of 1",
    }
    assert event["user"] == {"id": "user-1"}
    assert event["tags"]["request_id"] == "req-1"
    assert event["transaction"] == "POST /api/v1/recipes/<id>"
    assert "request" not in other
    assert "user" not in other


@frozen
class Login:
    email: str
    password: str


def sign_in(seeds: Seeds) -> None:
    """Fails with a secret of every kind in local variables, by name, by shape, by repr."""
    password = seeds.password
    login = Login(seeds.email, seeds.password)
    body = json.dumps(seeds.named, default=str)
    raw = body.encode()
    headers = seeds.named["headers"]
    values = list(seeds.shaped.values())
    deep = {"a": {"b": {"c": {"d": {"e": {"f": seeds.named}}}}}}
    innocent = seeds.password
    assert all((password, login, body, raw, headers, values, deep, innocent))
    json.loads(body[: len(body) // 2])  # a library's frames hold the same under other names


def failure(seeds: Seeds) -> BaseException:
    """A group of errors with causes, each with secrets in its words."""
    try:
        try:
            sign_in(seeds)
        except ValueError as cause:
            error = RuntimeError(f"cannot sign in with {seeds.password} and Bearer {seeds.session}")
            error.add_note(f"the body was {seeds.named!r}")
            raise ExceptionGroup(
                seeds.shaped["query"],
                [error, OSError(5, seeds.shaped["database"]), ValueError(seeds.named, seeds.jwt)],
            ) from cause
    except ExceptionGroup as group:
        return group


async def test_no_seeded_secret_is_in_any_envelope(ingest: SentryIngest) -> None:
    seeds = Seeds()
    as_text = {"seeded": "text", **{str(k): str(v) for k, v in seeds.named.items()}}
    async with reporting(ingest) as reporter:
        for body in (seeds.named, json.dumps(seeds.named, default=str).encode(), repr(seeds.named)):
            with reporter.request("POST", f"/login/{seeds.email}") as trace:
                reporter.add_breadcrumb("http", f"GET {seeds.shaped['query']}", seeds.named)
                reporter.add_breadcrumb("socket", "login", {"payload": ["x", seeds.named]})
                request = ReportedRequest(
                    "POST",
                    "/login",
                    f"token={seeds.refresh}&code={seeds.code}&email={seeds.email}",
                    {
                        "Authorization": f"Bearer {seeds.session}",
                        "Cookie": f"sid={seeds.session}",
                        "X-Api-Key": seeds.code,
                        "X-Confirm-Password": seeds.password,
                        "X-Forwarded-For": "203.0.113.77",
                    },
                    body,
                    "req-1",
                    "user-1",
                )
                _add_to_scope(seeds, as_text)
                assert reporter.capture_exception(failure(seeds), request) is not None
                trace.finish("/login", 500)
    assert len(ingest.events) == 3
    assert len(ingest.transactions) == 3
    everything = ingest.everything()
    assert seeds.in_text(everything) == []
    assert "203.0.113.77" not in everything
    for event in ingest.events:
        assert {"ExceptionGroup", "RuntimeError", "JSONDecodeError", "OSError"} <= {
            exception["type"] for exception in event["exception"]["values"]
        }
        frames = [
            frame
            for exception in event["exception"]["values"]
            for frame in exception.get("stacktrace", {}).get("frames", [])
        ]
        assert any("vars" in frame for frame in frames if frame["function"] == "sign_in")
        assert not any("vars" in frame for frame in frames if frame["module"].startswith("json"))
        assert len(event["breadcrumbs"]["values"]) == 2


def _add_to_scope(seeds: Seeds, as_text: dict[str, str]) -> None:
    """What another module could add with the SDK itself: extra, contexts, tags, the user."""
    import sentry_sdk

    scope = sentry_sdk.get_isolation_scope()
    scope.set_extra("named", seeds.named)
    scope.set_context("login", as_text)
    scope.set_tag("authorization", seeds.session)
    scope.set_user({"id": "user-1", "email": seeds.email, "ip_address": "203.0.113.77"})


async def test_the_group_of_an_event_is_that_of_its_rule(ingest: SentryIngest) -> None:
    class StripeError(Exception):
        pass

    class SqlError(Exception):
        sqlstate = "23505"

    async with reporting(ingest) as reporter:
        for error in (
            StripeError("invalid"),
            SqlError("invalid"),
            ValueError("invalid"),
            OSError(),
        ):
            reporter.capture_exception(raised(error))
    assert [event.get("fingerprint") for event in ingest.events] == [
        ["stripe-error", "StripeError"],
        ["database-error", "23505"],
        ["validation-error"],
        None,
    ]


async def test_expected_errors_are_no_events_and_outages_are(ingest: SentryIngest) -> None:
    async with reporting(ingest) as reporter:
        assert reporter.capture_exception(raised(DuplicateEntry())) is None
        assert reporter.capture_exception(raised(ServiceUnavailable())) is not None
    assert [e["exception"]["values"][0]["type"] for e in ingest.events] == ["ServiceUnavailable"]


async def test_the_same_error_is_reported_once(ingest: SentryIngest) -> None:
    error = raised(ValueError("x"))
    async with reporting(ingest) as reporter:
        with reporter.request("GET", "/x"):
            reporter.capture_exception(error)
            reporter.capture_exception(error)
    assert len(ingest.events) == 1


async def test_breadcrumbs_belong_to_their_request_whatever_runs_beside_it(
    ingest: SentryIngest,
) -> None:
    async def serve(number: int, reporter: ErrorReporter) -> None:
        with reporter.request("GET", "/x"):
            reporter.add_breadcrumb("step", f"first of {number}")
            await trio.lowlevel.checkpoint()
            async with trio.open_nursery() as nursery:  # the handler runs in a task of its own
                nursery.start_soon(handle, number, reporter)

    async def handle(number: int, reporter: ErrorReporter) -> None:
        reporter.add_breadcrumb("step", f"second of {number}")
        await trio.lowlevel.checkpoint()
        reporter.capture_exception(raised(ValueError(f"{number}")))

    async with reporting(ingest) as reporter, trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(serve, number, reporter)
    assert len(ingest.events) == 4
    for event in ingest.events:
        number = event["exception"]["values"][0]["value"]
        assert [crumb["message"] for crumb in event["breadcrumbs"]["values"]] == [
            f"first of {number}",
            f"second of {number}",
        ]


async def test_requests_are_traced_by_route(ingest: SentryIngest) -> None:
    async with reporting(ingest, "development") as reporter:
        with reporter.request("GET", "/api/v1/recipes/77") as trace:
            trace.finish("/api/v1/recipes/<id>", 200)
    [transaction] = ingest.transactions
    assert transaction["transaction"] == "GET /api/v1/recipes/<id>"
    assert transaction["contexts"]["trace"]["op"] == "http.server"
    assert transaction["contexts"]["trace"]["status"] == "ok"
    assert transaction["tags"]["node_env"] == "development"
    assert transaction["release"] == RELEASE


@pytest.mark.parametrize(
    ("environment", "rate"),
    [("production", 0.1), ("staging", 0.5), ("development", 1.0), ("test", 1.0)],
)
def test_the_share_of_traced_requests_depends_on_the_environment(
    environment: str, rate: float
) -> None:
    assert traces_sample_rate(environment) == rate


async def test_the_sample_rate_is_what_arrives_and_errors_are_not_sampled(
    ingest: SentryIngest, monkeypatch: pytest.MonkeyPatch
) -> None:
    rolls: Iterator[float] = iter([0.05, 0.15, 0.09, 0.99, 0.5])
    monkeypatch.setattr("random.random", lambda: next(rolls))
    async with reporting(ingest, "production") as reporter:
        for number in range(5):
            with reporter.request("GET", "/x") as trace:
                reporter.capture_exception(raised(ValueError(f"{number}")))
                trace.finish("/x", 200)
    assert len(ingest.transactions) == 2
    assert len(ingest.events) == 5
    [trace_headers] = {
        e.header["trace"]["sample_rate"] for e in ingest.envelopes if e.payloads("transaction")
    }
    assert float(trace_headers) == 0.1


async def test_start_is_logged_without_the_address(ingest: SentryIngest, log_to_text: Any) -> None:
    written = log_to_text()
    async with reporting(ingest, "production"):
        pass
    [record] = written.records
    assert record["message"] == "Sentry initialized"
    assert (record["environment"], record["sampleRate"]) == ("production", 0.1)
    assert record["release"] == RELEASE
    assert "publickey" not in written.getvalue()
    assert str(ingest.port) not in written.getvalue()


async def test_without_an_address_nothing_is_reported_and_a_line_says_so(log_to_text: Any) -> None:
    written = log_to_text()
    async with open_sentry(dsn=None, environment="test", release=RELEASE) as reporter:
        assert isinstance(reporter, NoReports)
        with reporter.request("GET", "/x") as trace:
            reporter.add_breadcrumb("a", "b")
            assert reporter.capture_exception(raised(ValueError("x"))) is None
            trace.finish(None, 404)
    assert written.records[0]["message"] == "Sentry not configured - error tracking disabled"


async def test_events_on_their_way_are_flushed_even_when_cancelled(ingest: SentryIngest) -> None:
    ingest.hold()
    arrived = 0
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            try:
                async with reporting(ingest) as reporter:
                    reporter.capture_exception(raised(ValueError("last words")))
                    nursery.start_soon(release_soon, ingest)
                    scope.cancel()
                    await trio.sleep_forever()
            finally:
                arrived = len(ingest.events)
    assert arrived == 1


async def release_soon(ingest: SentryIngest) -> None:
    await trio.sleep(0.1)
    ingest.release()


async def test_unresponsive_ingest_delays_nothing(
    ingest: SentryIngest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cookcam.observability.sentry.FLUSH_SECONDS", 0.1)
    ingest.hold()
    with trio.fail_after(5):
        async with reporting(ingest) as reporter:
            reporter.capture_exception(raised(ValueError("x")))
    assert ingest.events == []


async def test_reports_over_the_queue_are_dropped_and_counted(ingest: SentryIngest) -> None:
    metrics, entered, go_on = Metrics(), threading.Event(), threading.Event()

    class Slow(Exception):
        def __str__(self) -> str:
            entered.set()
            go_on.wait(10)
            return "slow"

    async with open_sentry(
        dsn=ingest.dsn, environment="test", release=RELEASE, metrics=metrics
    ) as reporter:
        assert reporter.capture_exception(raised(Slow())) is not None
        await trio.to_thread.run_sync(entered.wait)
        taken = [reporter.capture_exception(raised(ValueError(f"{n}"))) for n in range(50)]
        go_on.set()
    accepted = taken[:MAX_WAITING_REPORTS]
    assert None not in accepted
    assert taken[MAX_WAITING_REPORTS:] == [None] * (50 - MAX_WAITING_REPORTS)
    assert [event["event_id"] for event in ingest.events[1:]] == accepted
    assert _value(metrics, "dropped") == 50 - MAX_WAITING_REPORTS
    assert _value(metrics, "made") == MAX_WAITING_REPORTS + 1


async def test_what_the_ingest_does_not_take_is_dropped_and_counted(ingest: SentryIngest) -> None:
    metrics = Metrics()
    ingest.hold()
    async with open_sentry(
        dsn=ingest.dsn, environment="test", release=RELEASE, metrics=metrics
    ) as reporter:
        with trio.fail_after(30):
            while _value(metrics, "dropped") < 5:
                reporter.capture_exception(raised(ValueError("x")))
                await trio.sleep(0.001)
        assert _value(metrics, "made") <= 150
        ingest.release()


def _value(metrics: Metrics, outcome: str) -> float:
    labels = {"outcome": outcome}
    return metrics.registry.get_sample_value("error_reports_total", labels) or 0.0


def descend(recipe: dict[str, Any], levels: int) -> None:
    """Fails deep inside, with a large body in the variables of every frame."""
    step_text, unknown = f"{recipe['title']} in {levels} steps", [*recipe]
    if levels == 0:
        raise RecursionError(f"maximum depth, near {len(step_text)} {len(unknown)}")
    descend(recipe, levels - 1)


def deep_error(recipe: dict[str, Any]) -> BaseException:
    """An error of 900 frames around an error of 900 frames."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(3000)
    try:
        try:
            descend(recipe, 900)
        except RecursionError:
            descend(recipe, 900)
    except RecursionError as error:
        return error
    finally:
        sys.setrecursionlimit(limit)
    raise AssertionError


async def test_deep_error_is_reported_within_limits_and_away_from_the_event_loop(
    ingest: SentryIngest, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"title": "Grandmother's soup", "steps": ["stir the secret sauce"] * 20_000}
    recipe = {**body, "favouriteSpiceOfMine": "saffron from Herat"}
    error = deep_error(recipe)
    threads: set[int] = set()
    work = 0

    def counted(frame: object, event: str, argument: object) -> None:
        nonlocal work
        work += event in ("call", "c_call")

    def recorded(*arguments: Any, **options: Any) -> Any:
        threads.add(threading.get_ident())
        return exception_section(*arguments, **options)

    monkeypatch.setattr("cookcam.observability.sentry.exception_section", recorded)
    async with reporting(ingest) as reporter:
        request = ReportedRequest("POST", "/recipes", body=recipe)
        sys.setprofile(counted)
        try:
            assert reporter.capture_exception(error, request) is not None
        finally:
            sys.setprofile(None)
    assert threads
    assert threading.get_ident() not in threads
    assert work < 300  # calls on the loop's thread; serialising the frames there takes over 100,000
    [event] = ingest.events
    assert len(ingest.everything()) < MAX_EVENT_SIZE + 4096
    for exception in event["exception"]["values"]:
        assert exception["type"] == "RecursionError"
        assert len(exception["stacktrace"]["frames"]) == MAX_FIRST_FRAMES + MAX_LAST_FRAMES
    assert event["exception"]["values"][-1]["stacktrace"]["frames"][-1]["vars"]["recipe"] == (
        "dict of 3"
    )
    for text in ("Grandmother", "secret sauce", "favouriteSpice", "saffron"):
        assert text not in ingest.everything()


async def test_many_causes_and_nested_groups_are_bounded(ingest: SentryIngest) -> None:
    error: Exception = ValueError("innermost")
    for level in range(300):
        error = ExceptionGroup(f"level {level}", [error])
    async with reporting(ingest) as reporter:
        reporter.capture_exception(raised(error))
    [event] = ingest.events
    assert len(event["exception"]["values"]) == MAX_EXCEPTIONS
    assert event["exception"]["values"][-1]["value"].startswith("level 299")


async def test_a_reporter_that_was_closed_reports_nothing(ingest: SentryIngest) -> None:
    async with reporting(ingest) as reporter:
        pass
    assert reporter.capture_exception(raised(ValueError("x"))) is None
    assert ingest.envelopes == []


async def test_an_address_that_is_none_stops_the_start() -> None:
    from sentry_sdk.utils import BadDsn

    with pytest.raises(BadDsn):
        async with open_sentry(dsn=Secret("http://nokey/1"), environment="test", release="r"):
            pass


async def test_the_sdk_hooks_into_nothing(ingest: SentryIngest) -> None:
    hooks = (sys.excepthook, threading.excepthook, threading.Thread.run)
    async with reporting(ingest):
        assert (sys.excepthook, threading.excepthook, threading.Thread.run) == hooks
        loaded = {name for name in sys.modules if name.startswith("sentry_sdk.integrations.")}
    assert loaded <= {"sentry_sdk.integrations.dedupe"}
