"""The notice of a shutdown. Source: `spec/realtime.md` §8, phase 2."""

from __future__ import annotations

import random

from cookcam.http.responses import now_text
from cookcam.realtime.connection import Connection

EARLIEST_RETURN = 1_000
LATEST_RETURN = 10_000
"""Milliseconds. Each client is given a time of its own, so that not all return at once."""


def give_notice(connection: Connection) -> None:
    """Sends `server_shutdown` to one connection, once."""
    if connection.noticed:
        return
    connection.noticed = True
    connection.send(
        "server_shutdown",
        {
            "message": "Server is shutting down for maintenance",
            "timestamp": now_text(),
            "reconnectAfterMs": random.randint(EARLIEST_RETURN, LATEST_RETURN),  # noqa: S311 - jitter
        },
    )
