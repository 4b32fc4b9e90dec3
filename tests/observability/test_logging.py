"""Log lines: their form, their context, what of exceptions they keep, and what never gets out."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
import structlog
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cookcam.config import load
from cookcam.errors import DuplicateEntry
from cookcam.observability.context import add_log_fields, current_log_fields, log_context
from cookcam.observability.logging import configure_logging, get_logger, instance_fields
from tests.observability.seeds import Seeds
from tests.support.environments import DEVELOPMENT, PRODUCTION, STAGING

log = get_logger("cookcam.tests")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_a_deployed_server_writes_json_with_time_level_and_message(
    environment: str, log_to_text: Any
) -> None:
    written = log_to_text(environment)
    before = datetime.now(UTC)
    log.info("server started", port=3000)
    [record] = written.records
    assert list(record) == ["timestamp", "level", "message", "logger", "port"]
    assert record["level"] == "INFO"
    assert (record["message"], record["port"]) == ("server started", 3000)
    assert len(record["timestamp"]) == len("2026-01-02T03:04:05.678Z")
    moment = datetime.fromisoformat(record["timestamp"])
    assert moment.tzinfo == UTC
    assert abs((moment - before).total_seconds()) < 60


@pytest.mark.parametrize("environment", ["development", "test"])
def test_a_developer_reads_a_line_of_text(environment: str, log_to_text: Any) -> None:
    written = log_to_text(environment)
    log.warning("pool is full", size=20, wait="a while", names=["a"])
    [line] = written.lines
    assert line.endswith(
        '] WARN: pool is full logger=cookcam.tests size=20 wait="a while" names=["a"]'
    )
    assert line.startswith("[2")


def test_levels_are_upper_case_and_four(log_to_text: Any) -> None:
    written = log_to_text(level="debug")
    for method in (log.debug, log.info, log.warning, log.error, log.critical):
        method("x")
    assert [r["level"] for r in written.records] == ["DEBUG", "INFO", "WARN", "ERROR", "ERROR"]


@pytest.mark.parametrize(("level", "shown"), [("error", 1), ("warn", 2), ("info", 3), ("debug", 4)])
def test_the_log_level_is_honoured_for_our_lines_and_for_libraries(
    level: Any, shown: int, log_to_text: Any
) -> None:
    for logger in (log, logging.getLogger("hypercorn.error")):
        written = log_to_text(level=level)
        logger.debug("d")
        logger.info("i")
        logger.warning("w")
        logger.error("e")
        assert [r["message"] for r in written.records] == ["d", "i", "w", "e"][-shown:]


def test_context_cannot_take_the_names_of_the_record(log_to_text: Any) -> None:
    written = log_to_text()
    log.info("true", timestamp="1999", level="FATAL", message="false", logger="evil")
    [record] = written.records
    assert (record["level"], record["message"], record["logger"]) == (
        "INFO",
        "true",
        "cookcam.tests",
    )
    assert not record["timestamp"].startswith("1999")
    assert (record["level_"], record["message_"]) == ("FATAL", "false")


def test_dates_identifiers_and_objects_are_serialised(log_to_text: Any) -> None:
    written = log_to_text()
    log.info("x", at=datetime(2026, 1, 2, tzinfo=UTC), id=UUID(int=5), what=object, n=2**80)
    [record] = written.records
    assert record["at"] == "2026-01-02T00:00:00+00:00"
    assert record["id"] == str(UUID(int=5))
    assert (record["what"], record["n"]) == ("<class 'object'>", 2**80)


def raise_chained() -> None:
    try:
        raise KeyError("first")
    except KeyError as cause:
        raise ValueError("second") from cause


def test_an_exception_becomes_error_type_and_stack(log_to_text: Any) -> None:
    written = log_to_text()
    try:
        raise_chained()
    except ValueError as error:
        log.exception("it failed", step=1)
        caught = error
    log.error("it failed", error=caught)
    log.error("it failed", exc_info=caught)
    assert len(written.records) == 3
    for record in written.records:
        assert (record["error"], record["error_type"]) == ("second", "ValueError")
        assert "KeyError: 'first'" in record["stack"]
        assert "in raise_chained" in record["stack"]
        assert "exc_info" not in record


def test_an_exception_elsewhere_in_the_context_keeps_its_text(log_to_text: Any) -> None:
    written = log_to_text()
    log.warning("retrying", causes=[ValueError("bad"), DuplicateEntry()])
    assert written.records[0]["causes"] == [
        "ValueError: bad",
        "DuplicateEntry: DUPLICATE_ENTRY: Resource already exists",
    ]


def test_members_of_an_exception_group_are_in_the_stack(log_to_text: Any) -> None:
    written = log_to_text()
    log.error("tasks failed", error=ExceptionGroup("two", [ValueError("a"), OSError("b")]))
    assert "ValueError: a" in written.records[0]["stack"]
    assert "OSError: b" in written.records[0]["stack"]


async def test_lines_of_a_requests_tasks_have_its_id(
    log_to_text: Any,
) -> None:
    written = log_to_text()

    async def request(name: str) -> None:
        with log_context(requestId=name, method="GET", path="/x"):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(handler, name)
            log.info("API Response")
        log.info("between requests")

    async def handler(name: str) -> None:
        add_log_fields(userId=f"user-{name}", path="/recipes/<id>")
        log.info("in handler")
        await trio.lowlevel.checkpoint()
        logging.getLogger("library").warning("from a library")

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(request, f"r{number}")

    for record in written.records:
        if record["message"] == "between requests":
            assert "requestId" not in record
        else:
            assert record["userId"] == f"user-{record['requestId']}"
            assert (record["method"], record["path"]) == ("GET", "/recipes/<id>")
    assert len(written.records) == 200


def test_contexts_nest_and_fields_outside_of_one_go_nowhere() -> None:
    add_log_fields(lost=True)
    assert current_log_fields() == {}
    with log_context(requestId="a"):
        with log_context(socketId="s"):
            add_log_fields(userId="u")
            assert current_log_fields() == {"requestId": "a", "socketId": "s", "userId": "u"}
        assert current_log_fields() == {"requestId": "a"}


def test_lines_of_libraries_pass_the_same_renderer_and_redaction(log_to_text: Any) -> None:
    written = log_to_text()
    seeds = Seeds()
    logging.getLogger("yoyo").warning("connecting to %s", seeds.shaped["database"])
    logging.getLogger("psycopg").error("failed", exc_info=ValueError(seeds.shaped["bearer"]))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"old: {seeds.email}", stacklevel=1)
    assert [r["logger"] for r in written.records] == ["yoyo", "psycopg", "py.warnings"]
    assert seeds.in_text(written.getvalue()) == []


def test_request_lines_of_http_clients_are_not_logged(log_to_text: Any) -> None:
    written = log_to_text(level="debug")
    logging.getLogger("httpx").info("HTTP Request: GET https://x/?email=a")
    logging.getLogger("httpcore.connection").debug("headers")
    assert written.lines == []


def test_a_library_that_logs_wrong_arguments_does_no_harm(
    log_to_text: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    written = log_to_text()
    logging.getLogger("library").warning("%s and %s", "secret-argument")
    assert "unformattable" in written.records[0]["message"]
    assert "secret-argument" not in written.getvalue() + capsys.readouterr().err


@pytest.mark.parametrize("environment", ["production", "development"])
def test_no_seeded_secret_is_in_any_line(environment: str, log_to_text: Any) -> None:
    written = log_to_text(environment, "debug")
    seeds = Seeds()

    def fail(password: str) -> None:
        raise ValueError(f"cannot sign in with password={password!r}")

    with log_context(requestId="r", headers=dict(seeds.named["headers"][:1])):  # type: ignore[index]
        log.info("API Request", **seeds.named)
        log.info("socket event", payload=["login", {"password": seeds.password, "n": [seeds.jwt]}])
        log.debug("raw body", body=json.dumps(seeds.named, default=str).encode())
        for text in seeds.shaped.values():
            log.info(text, value=text, values=[{"deep": (text,)}])
        try:
            try:
                fail(seeds.password)
            except ValueError as cause:
                raise ExceptionGroup(
                    "tasks", [RuntimeError(seeds.jwt), OSError(seeds.email)]
                ) from cause
        except ExceptionGroup as group:
            log.exception("failed: %s", group)
            log.error(
                "failed", error=group, cause=group.__cause__, body={"password": seeds.password}
            )
            logging.getLogger("library").exception("failed with %r", seeds.named)
    assert len(written.lines) > 12
    assert seeds.in_text(written.getvalue()) == []


FORGED = '\n{"level":"INFO"}\r\n[2026-01-01T00:00:00.000Z] INFO: forged\u2028\u2029\x85\x0b\x1b[2J'


def test_newline_in_a_value_does_not_start_a_record(log_to_text: Any) -> None:
    for environment in ("production", "development"):
        written = log_to_text(environment)
        try:
            raise ValueError(FORGED)
        except ValueError:
            log.exception(f"failed {FORGED}", value=FORGED, **{f"key{FORGED}": 1})
        records = [line for line in written.lines if line.startswith(("{", "["))]
        assert len(records) == 1
        assert "\x1b" not in written.getvalue()
        if environment == "production":
            assert written.lines == records


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(message=st.text(), context=st.dictionaries(st.text(), json_values, max_size=5))
def test_whatever_is_logged_is_one_line_of_json(
    message: str, context: dict[str, Any], log_to_text: Any
) -> None:
    written = log_to_text()
    context.pop("event", None)
    context.pop("self", None)
    log.info(message, **context)
    [line] = written.lines
    record = json.loads(line)
    assert record["level"] == "INFO"
    assert written.getvalue().endswith("}\n")


def test_configuring_again_replaces_what_was_set_up(log_to_text: Any) -> None:
    first = log_to_text("production")
    second = log_to_text("development")
    log.info("x")
    logging.getLogger("y").info("y")
    assert first.lines == []
    assert len(second.lines) == 2


def test_a_closed_stream_does_not_disturb_the_caller(log_to_text: Any) -> None:
    written = log_to_text()
    written.close()
    log.info("x")


def test_names_of_loggers_are_bound_once_configured() -> None:
    """A logger may be made at import time, before anything is configured."""
    assert isinstance(log, structlog._config.BoundLoggerLazyProxy)  # pyright: ignore


def test_stack_of_a_long_chain_of_groups_is_bounded(log_to_text: Callable[..., Any]) -> None:
    written = log_to_text()
    error: Exception = ValueError("innermost")
    for level in range(300):
        error = ExceptionGroup(f"level {level}", [error])
    calls = 0

    def counted(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(counted)
    try:
        get_logger("x").error("failed", error=error)
    finally:
        sys.setprofile(None)
    [record] = written.records
    assert record["stack"].count("ExceptionGroup: level") == 20
    assert "level 299" in record["stack"]
    assert calls < 3000


@pytest.mark.parametrize("environment", ["production", "staging"])
def test_every_line_names_its_instance_process_and_release(
    environment: str, capfd: pytest.CaptureFixture[str]
) -> None:
    config = load({**(PRODUCTION if environment == "production" else STAGING), "PORT": "3001"})
    logger = configure_logging(environment, "info", instance=instance_fields(config))
    get_logger("x").info("own line", pid=7, instance="another")
    get_logger("x").error("own error")
    logging.getLogger("library").warning("line of a library")
    logger.flush(1)
    output = capfd.readouterr()
    records = [json.loads(line) for line in (output.out + output.err).splitlines()]
    assert len(records) == 3
    for record in records:
        assert record["instance"] == f"{socket.gethostname()}:3001"
        assert record["pid"] == os.getpid()
        assert record["release"] == "cookcam-api@0a1b2c3d"


def test_lines_for_people_name_the_instance(capfd: pytest.CaptureFixture[str]) -> None:
    config = load({**DEVELOPMENT, "PORT": "3002"})
    logger = configure_logging("development", "info", instance=instance_fields(config))
    get_logger("x").info("own line")
    logger.flush(1)
    assert f" instance={socket.gethostname()}:3002" in capfd.readouterr().out


def test_redacted_values_are_counted() -> None:
    counts: list[int] = []
    logger = configure_logging("production", "info", stream=StringIO())
    logger.redactions.report = counts.append
    written = get_logger("test")
    written.info("without secrets", path="/recipes")
    written.info("two secrets", password="hunter22", token="abc")
    assert counts == [2]
