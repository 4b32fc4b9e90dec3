"""Which web pages may talk to the server: CORS for polling, the Origin check for WebSocket.

CORS does not restrain WebSocket connections, so an upgrade that names a foreign origin is
refused outright. Native apps send no Origin and are not asked for one; a page may always talk to
the host it came from.
"""

from __future__ import annotations

from collections.abc import Collection

from attrs import frozen

from .asgi import Headers, Request, Response

ANY = "*"


@frozen
class Origins:
    """The allow-list: exact origins such as `https://cookcam.app`, or `*` for every page.

    None switches both checks off, as the reference server does without its `cors` option.
    """

    allowed: Collection[str] | None = None

    def admits(self, request: Request) -> bool:
        """Whether this upgrade may go on."""
        origin = request.header("origin")
        if self.allowed is None or origin is None or self._lists(origin):
            return True
        return origin.partition("://")[2] == request.header("host")

    def headers(self, request: Request) -> Headers:
        """What lets the page that asks read the answer; empty for every other page."""
        if self.allowed is None:
            return []
        headers: Headers = [(b"vary", b"Origin")]
        origin = request.header("origin")
        if origin is not None and self._lists(origin):
            headers.append((b"access-control-allow-origin", origin.encode("latin-1")))
            headers.append((b"access-control-allow-credentials", b"true"))
        return headers

    def preflight(self, request: Request) -> Response:
        """The answer to OPTIONS."""
        headers = self.headers(request)
        if len(headers) > 1:
            headers.append((b"access-control-allow-methods", b"GET, POST"))
            headers.append((b"access-control-max-age", b"600"))
            asked = request.header("access-control-request-headers")
            if asked is not None:
                headers.append((b"access-control-allow-headers", asked.encode("latin-1")))
        return Response(204, headers=headers)

    def _lists(self, origin: str) -> bool:
        return self.allowed is not None and (ANY in self.allowed or origin in self.allowed)
