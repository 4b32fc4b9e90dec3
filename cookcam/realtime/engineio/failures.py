"""Reporting of failures that concern one session and do not end the task that meets them."""

from __future__ import annotations

import logging
from collections.abc import Callable

OnFailure = Callable[[str, Exception], None]
"""Called with the name of the task and the error. Must not raise."""

_log = logging.getLogger(__name__)


def log_failure(task: str, error: Exception) -> None:
    """The default `OnFailure`."""
    _log.error("%s failed for one session", task, exc_info=error)
