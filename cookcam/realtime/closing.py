"""Why a connection ends, as a close code. Source: `spec/realtime.md` §10.4."""

from __future__ import annotations

from enum import IntEnum


class CloseCode(IntEnum):
    """The codes of WebSocket closes. What a client should do is in docs/realtime.md."""

    NORMAL = 1000
    GOING_AWAY = 1001
    """The server shuts down."""
    BINARY = 1003
    INVALID = 1007
    """Three frames in a row that were no JSON object."""
    TOO_LARGE = 1009
    SERVER_FAULT = 1011
    """Our fault, or the peer did not answer a ping."""
    TOO_SLOW = 1013
    """The outbox is full of what may not be lost."""
    TOKEN = 4401
    """The token is missing, invalid or expired."""
    FORBIDDEN = 4403
    """The account is disabled."""
    UNAUTHENTICATED = 4408
    """No `authenticate` in time."""
    REPLACED = 4409
    """The user has opened more connections than are allowed."""
    RATE_LIMITED = 4429
    """The client went on in spite of repeated refusals."""


STAY_AWAY = frozenset({CloseCode.FORBIDDEN, CloseCode.REPLACED, CloseCode.RATE_LIMITED})
"""After these a client must not come back at once. A Socket.IO client, whose library reconnects
by itself after a mere close, is disconnected from the namespace first, which stops it."""
