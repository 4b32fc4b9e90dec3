"""The states of a connection, and how long each may last.

Whatever a peer does or leaves undone, a connection is in exactly one state, and every state has a
deadline: there is no input after which a connection stays open for ever.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final


class State(Enum):
    """What a connection waits for."""

    TLS_HANDSHAKE = auto()
    IDLE = auto()
    """The first byte of the next request."""
    HEAD = auto()
    """The rest of a request's head. A byte more does not extend it."""
    BODY = auto()
    """The rest of a request's body, which has to keep up MIN_BODY_RATE."""
    RESPONSE = auto()
    """The application: its response, or its decision on a WebSocket."""
    WEBSOCKET = auto()
    """Anything from the peer of an open WebSocket, which answers pings at least."""
    CLOSING = auto()
    """The end of what the peer still sends after we have closed our side."""


TLS_HANDSHAKE_TIMEOUT: Final = 15.0
HEAD_TIMEOUT: Final = 15.0
BODY_GRACE: Final = 30.0
"""Seconds a body may stall."""
MIN_BODY_RATE: Final = 4096
"""Bytes per second, over more than BODY_GRACE; a slow mobile network has twice that."""
RESPONSE_TIMEOUT: Final = 900.0
"""Above every deadline a route can have (REQUEST_TIMEOUT_SECONDS is at most 600)."""
WRITE_TIMEOUT: Final = 60.0
"""One write, and one wait for the window of an HTTP/2 stream."""
CLOSING_TIMEOUT: Final = 1.0
DRAIN_CLOSING_TIMEOUT: Final = 0.25
"""The same while the server drains, which one round trip is enough for."""
DRAIN_IDLE_GRACE: Final = 0.1
"""While draining, a connection that is not a proxy's may stay idle this long: a request on its way
arrives."""
MIN_DRAIN_GRACE: Final = 0.3
"""While draining, bodies and writes may stall for the linger time, and for this at least."""


class BodyDeadline:
    """When the body of a request is too slow: a stall of `grace` seconds uses up what it has, and
    each byte received earns 1 / MIN_BODY_RATE seconds."""

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
