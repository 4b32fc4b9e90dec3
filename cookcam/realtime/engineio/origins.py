"""Which web pages may connect: CORS for polling, the Origin check for WebSocket.

CORS does not apply to WebSocket connections, so an upgrade from an origin that is not listed is
rejected. Native apps send no Origin, and it is not required. A page may always connect to its own
host.
"""

from __future__ import annotations

from collections.abc import Collection

from attrs import frozen

from .asgi import Headers, Request, Response

ANY = "*"


@frozen
class Origins:
    """The allow-list: exact origins such as `https://cookcam.app`, or `*` for every page.

    None disables both checks, like the reference server without its `cors` option.
    """

    allowed: Collection[str] | None = None

    def admits(self, request: Request) -> bool:
        """Whether the upgrade is allowed."""
        origin = request.header("origin")
        if self.allowed is None or origin is None or self._lists(origin):
            return True
        return origin.partition("://")[2] == request.header("host")

    def headers(self, request: Request) -> Headers:
        """The CORS headers that let a listed page read the response."""
        if self.allowed is None:
            return []
        headers: Headers = [(b"vary", b"Origin")]
        origin = request.header("origin")
        if origin is not None and self._lists(origin):
            headers.append((b"access-control-allow-origin", origin.encode("latin-1")))
            headers.append((b"access-control-allow-credentials", b"true"))
        return headers

    def preflight(self, request: Request) -> Response:
        """The response to OPTIONS."""
        headers = self.headers(request)
        if len(headers) > 1:
            headers.append((b"access-control-allow-methods", b"GET, POST"))
            headers.append((b"access-control-max-age", b"600"))
            requested = request.header("access-control-request-headers")
            if requested is not None:
                headers.append((b"access-control-allow-headers", requested.encode("latin-1")))
        return Response(204, headers=headers)

    def _lists(self, origin: str) -> bool:
        return self.allowed is not None and (ANY in self.allowed or origin in self.allowed)
