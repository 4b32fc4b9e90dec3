"""Why a request is refused: the error table of the reference engine.io server.

Clients see `{"code":n,"message":...}` with status 400, or 403 for code 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field

from .asgi import Headers, Response


@define(eq=False, slots=False)
class Rejected(Exception):
    """The request gets no session. Raised by `admit` hooks to refuse a handshake their own way."""

    message: str = "Forbidden"
    code: int = 4
    status: int = 403
    headers: Headers = field(factory=Headers)

    def response(self, more: Mapping[str, Any]) -> Response:
        """The answer; `more` are further keys of its body."""
        content = {**more, "code": self.code, "message": self.message}
        return Response.json(self.status, content, self.headers)


def transport_unknown() -> Rejected:
    return Rejected("Transport unknown", 0, 400)


def session_unknown() -> Rejected:
    return Rejected("Session ID unknown", 1, 400)


def bad_handshake_method() -> Rejected:
    return Rejected("Bad handshake method", 2, 400)


def bad_request() -> Rejected:
    return Rejected("Bad request", 3, 400)


def unsupported_version() -> Rejected:
    return Rejected("Unsupported protocol version", 5, 400)
