"""Leaves logging as it was: these tests set it up for the whole process, as a server does."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cookcam.observability.logging import _VERBOSE, Level, configure_logging  # pyright: ignore
from tests.support.logs import configure_logs


@pytest.fixture(autouse=True)
def _logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    levels = {name: logging.getLogger(name).level for name in _VERBOSE}
    yield
    root.handlers = handlers
    root.setLevel(level)
    for name, value in levels.items():
        logging.getLogger(name).setLevel(value)
    logging.captureWarnings(False)
    configure_logs()


class Written(io.StringIO):
    """The stream of a test, with what was written as lines and as records."""

    @property
    def lines(self) -> list[str]:
        return self.getvalue().splitlines()

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@pytest.fixture
def log_to_text() -> Callable[..., Written]:
    """`log_to_text(environment, level)` sets logging up and gives what it writes."""

    def configure(environment: str = "production", level: Level = "info") -> Written:
        written = Written()
        configure_logging(environment, level, stream=written)
        return written

    return configure
