"""How paths are compared: ignoring case and one trailing slash (`spec/http-api-core.md` §2).

The edge (limits, bounds) and the router use the same form, so that no spelling of a path is
routed to a handler without the limits of that handler.
"""

from __future__ import annotations

CANONICAL = "/api/v1"
LEGACY = "/api"
ROOT = ""

SOCKET_IO = "/socket.io"

PROBES = frozenset(
    prefix + path
    for prefix in (ROOT, CANONICAL)
    for path in (
        "/health",
        "/health/live",
        "/health/ready",
        "/health/detailed",
        "/health/db",
        "/metrics",
    )
)
"""Paths that monitors ask for: never limited, and in the log at debug level only."""


def canonical(path: str) -> str:
    """The form in which paths are compared; parameters keep their spelling elsewhere."""
    lowered = path.lower()
    return lowered[:-1] if lowered.endswith("/") and len(lowered) > 1 else lowered


def is_socket_transport(path: str) -> bool:
    """True for the Socket.IO server's own requests, which bring their own limits."""
    return path == SOCKET_IO or path.startswith(SOCKET_IO + "/")


def is_webhook(path: str) -> bool:
    """True for events that a payment provider delivers; `path` is canonical."""
    return "/subscription/webhook/" in path
