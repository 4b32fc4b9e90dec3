"""The log of a test: plain lines. Left alone, structlog lets rich draw every traceback with all its
locals, which takes 0.2 s for an exception and shows what no log should."""

from __future__ import annotations

import structlog


def configure_logs() -> None:
    structlog.reset_defaults()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(
                colors=False, exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    )
