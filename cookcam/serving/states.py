"""The states of a connection, and their deadlines.

A connection is always in exactly one state, and every state has a deadline. So no behaviour of a
peer keeps a connection open forever.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final


class State(Enum):
    """What a connection is waiting for."""

    TLS_HANDSHAKE = auto()
    IDLE = auto()
    """The first byte of the next request."""
    HEAD = auto()
    """The rest of a request's head. Further bytes do not extend the deadline."""
    BODY = auto()
    """The rest of a request's body, which must arrive with at least MIN_BODY_RATE."""
    RESPONSE = auto()
    """The application: its response, or its decision on a WebSocket."""
    WEBSOCKET = auto()
    """Any byte from the peer of an open WebSocket; a live peer at least answers pings."""
    CLOSING = auto()
    """The peer's close, after this server has closed its side."""


TLS_HANDSHAKE_TIMEOUT: Final = 15.0
HEAD_TIMEOUT: Final = 15.0
BODY_GRACE: Final = 30.0
"""Seconds a body may stall."""
MIN_BODY_RATE: Final = 4096
"""Bytes per second, averaged over more than BODY_GRACE; a slow mobile network has twice that."""
RESPONSE_TIMEOUT: Final = 900.0
"""Seconds; above every deadline of a route (REQUEST_TIMEOUT_SECONDS is at most 600)."""
WRITE_TIMEOUT: Final = 60.0
"""Seconds for one write, and for one wait for the window of an HTTP/2 stream."""
MAX_DISCARDED: Final = 16 * 2**20
"""Bytes that are read and dropped, before a close or between requests; more than any route takes in
a body (15 MiB), so that a client that uploads first and reads then gets its 413."""
CLOSING_TIMEOUT: Final = 1.0
DRAIN_CLOSING_TIMEOUT: Final = 0.25
"""Seconds for the same while the server drains: enough for one round trip."""
DRAIN_IDLE_GRACE: Final = 0.1
"""Seconds that a connection may stay idle while draining, unless it is a proxy's: enough for a
request in transit to arrive."""
MIN_DRAIN_GRACE: Final = 0.3
"""Seconds: while draining, bodies and writes may stall for the linger time, at least for this."""


class BodyDeadline:
    """Decides when the body of a request is too slow: a stall may last `grace` seconds, and each
    received byte adds 1 / MIN_BODY_RATE seconds."""

    __slots__ = ("grace", "when")

    def __init__(self, now: float, grace: float) -> None:
        self.grace = grace
        self.when = now + grace

    def received(self, size: int, now: float, waited: float) -> None:
        """`size` bytes arrived and the application took `waited` seconds to accept them."""
        self.when = min(self.when + waited + size / MIN_BODY_RATE, now + self.grace)

    def shorten(self, grace: float, now: float) -> None:
        self.grace = min(self.grace, grace)
        self.when = min(self.when, now + self.grace)
