"""What a log line costs, as ratios: against structlog without redaction, and by what it holds.

    python tests/benchmarks/bench_logging.py

Ratios of the same run are comparable between machines; the microseconds are not.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from statistics import median

import orjson
import structlog

from cookcam.observability.context import log_context
from cookcam.observability.logging import configure_logging, get_logger
from cookcam.observability.redaction import redact

ROUNDS = 9
LINES = 2000

REQUEST = {
    "requestId": "5f0c2d8e-3f9b-4f0e-8d57-0a4bb20ad0a5",
    "userId": "0a4bb20a-3f9b-4f0e-8d57-5f0c2d8ed0a5",
    "method": "GET",
    "path": "/api/v1/recipes/<recipe_id>",
}
ANSWER = {"statusCode": 200, "duration": 12.4, "bytes": 5120}
BODY = {
    "email": "ann@example.org",
    "password": "not a real one",
    "profile": {"refresh_token": "x" * 40, "note": "see https://example.org/?page=2"},
}


class Nowhere(io.StringIO):
    def write(self, text: str) -> int:
        return len(text)


def seconds(run: Callable[[], object]) -> float:
    """The median time of one call, in processor seconds."""
    results: list[float] = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(LINES):
            run()
        results.append((time.process_time() - start) / LINES)
    return median(results)


def stock() -> float:
    """structlog's own processors, orjson, no redaction, no bound on anything."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(lambda record, **_: orjson.dumps(record).decode()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(20),
        logger_factory=structlog.PrintLoggerFactory(Nowhere()),
        cache_logger_on_first_use=False,
    )
    log = structlog.get_logger()
    with structlog.contextvars.bound_contextvars(**REQUEST):
        return seconds(lambda: log.info("API Request", **ANSWER))


def ours(level: str, **fields: object) -> float:
    configure_logging("production", "warn" if level == "off" else "info", stream=Nowhere())
    log = get_logger("benchmark")
    with log_context(**REQUEST):
        return seconds(lambda: log.info("API Request", **fields))


def main() -> None:
    base = stock()
    lines = [
        ("structlog's own chain", base),
        ("ours, an access line", ours("on", **ANSWER)),
        ("ours, a body full of secrets", ours("on", **ANSWER, body=BODY)),
        ("ours, below the level", ours("off", **ANSWER)),
        ("redaction alone, an access line", seconds(lambda: redact({**REQUEST, **ANSWER}))),
        ("redaction alone, a body", seconds(lambda: redact(BODY))),
    ]
    structlog.reset_defaults()
    for what, took in lines:
        print(f"{what:34} {took * 1e6:7.1f} us {took / base:6.2f} x")


if __name__ == "__main__":
    main()
