"""Logging: one pipeline for the program's own lines (structlog) and for those of its libraries.

Every line is redacted, rendered by one renderer, and passed to a writer that never blocks.
`configure_logging` is called once, at the start of the process.
"""

from __future__ import annotations

import atexit
import logging
import os
import socket
import sys
import threading
from collections.abc import Mapping, MutableMapping
from types import MappingProxyType, TracebackType
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.typing import FilteringBoundLogger

from cookcam.config import Config
from cookcam.observability.log_writers import (
    DescriptorLogWriter,
    LevelLogger,
    NoLogWriter,
    RedactionCount,
    StreamLogWriter,
)
from cookcam.observability.records import Record, as_record, json_line, readable_line
from cookcam.observability.redaction import REDACTED

Level = Literal["error", "warn", "info", "debug"]

_LEVELS: dict[Level, int] = {
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
_FLUSH_SECONDS = 1.0
_REDACTED = REDACTED.encode()
_JSON_ENVIRONMENTS = ("staging", "production")
# Below these levels their lines are one per request, frame or retry, and hold URLs and headers;
# Pillow's hold the values of EXIF tags, for instance a location.
_VERBOSE = {
    **dict.fromkeys(("httpx", "httpcore", "hpack", "openai", "stripe", "PIL"), logging.WARNING),
    "hypercorn.access": logging.ERROR,  # `http.edge` writes the access line
    "urllib3": logging.ERROR,  # sends error reports: logs three lines for each failure
}


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose lines have `logger: name`. Cheap, and may be created before configuration.

    `log.info("constant message", key=value)`; `log.exception(…)` inside `except`;
    `log.error(…, error=exc)` elsewhere. The first argument is named `event`, so a field of that
    name is not possible.
    """
    return cast("FilteringBoundLogger", structlog.get_logger(name))


def instance_name(config: Config) -> str:
    """Host and port of this instance."""
    return f"{socket.gethostname()}:{config.server.port}"


def instance_fields(config: Config) -> Mapping[str, object]:
    """The fields that identify an instance: host and port, process, release.

    The human-readable format has only the first of them.
    """
    name = instance_name(config)
    if config.environment not in _JSON_ENVIRONMENTS:
        return {"instance": name}
    return {"instance": name, "pid": os.getpid(), "release": config.release}


def configure_logging(
    environment: str,
    level: Level,
    *,
    stream: TextIO | None = None,
    instance: Mapping[str, object] = MappingProxyType({}),
) -> LevelLogger:
    """Sets up structlog and the standard library's logging for this process.

    JSON lines in staging and production, readable text elsewhere; every line ends with the fields
    of `instance`. Without `stream`, errors and warnings go to standard error and the rest to
    standard output, and uncaught exceptions are logged instead of printed. The result can
    be flushed, which also happens at the end of the process, and has the count of
    redacted values. Calling it again replaces the earlier
    configuration.
    """
    renderer = json_line if environment in _JSON_ENVIRONMENTS else readable_line
    redactions = RedactionCount()

    def render(logger: object, method: str, record: MutableMapping[str, Any]) -> bytes:
        line = renderer(logger, method, record)
        if count := line.count(_REDACTED):
            redactions.report(count)
        return line

    def named(_logger: object, _method: str, record: MutableMapping[str, Any]) -> Record:
        return {**record, **instance}

    def lost_line(count: int) -> bytes:
        event = {"event": "log lines dropped, the reader stalled", "count": count}
        return render(None, "warning", named(None, "warning", as_record(None, "warning", event)))

    if stream is not None:
        out = err = StreamLogWriter(stream)
    else:
        # If the process was started with a closed stream, its descriptor may have been reused.
        out = DescriptorLogWriter(1, lost_line) if sys.__stdout__ is not None else NoLogWriter()
        err = DescriptorLogWriter(2, lost_line) if sys.__stderr__ is not None else NoLogWriter()

    def make_logger(name: str = "") -> LevelLogger:
        return LevelLogger(out, err, name, redactions)

    structlog.configure(
        processors=[as_record, named, render],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=make_logger,
        cache_logger_on_first_use=False,
    )
    _adopt_standard_logging(_LEVELS[level])
    logger = make_logger()
    if stream is None:
        _log_what_would_be_printed()
        atexit.register(logger.flush, _FLUSH_SECONDS)
    return logger


def _adopt_standard_logging(level: int) -> None:
    root = logging.getLogger()
    root.handlers = [StandardLibraryHandler()]  # another handler would not redact
    root.setLevel(level)
    for name, least in _VERBOSE.items():
        logging.getLogger(name).setLevel(max(level, least))
    logging.captureWarnings(True)


def _log_what_would_be_printed() -> None:
    """Logs uncaught exceptions of the process and its threads as redacted lines."""
    uncaught = get_logger("uncaught")

    def in_main(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        uncaught.critical("uncaught exception", exc_info=error)

    def in_thread(details: threading.ExceptHookArgs) -> None:
        name = details.thread.name if details.thread is not None else None
        uncaught.error("uncaught exception in a thread", exc_info=details.exc_value, thread=name)

    def unraisable(details: sys.UnraisableHookArgs) -> None:
        uncaught.error(details.err_msg or "unraisable exception", exc_info=details.exc_value)

    sys.excepthook = in_main
    threading.excepthook = in_thread
    sys.unraisablehook = unraisable


class StandardLibraryHandler(logging.Handler):
    """Passes the records of the standard library's logging to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        level = max(logging.DEBUG, min(record.levelno // 10 * 10, logging.CRITICAL))
        try:
            message = record.getMessage()
        except Exception:  # invalid arguments; the default handler prints them to standard error
            message = f"unformattable log record from line {record.lineno}"
        get_logger(record.name).log(level, message, exc_info=record.exc_info)
