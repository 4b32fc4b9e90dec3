"""CORS with an allow-list: a listed origin is echoed, any other gets no permission.

Every response of the edge has the headers, errors included. A preflight gets its response before
any quota is counted or a body is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from attrs import frozen

from cookcam.http.security_headers import Header

VARY: Header = (b"vary", b"Origin")

_EXPOSED = b"X-Request-ID, ETag, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset"
_METHODS = b"GET,HEAD,PUT,PATCH,POST,DELETE"
_PREFLIGHT_SECONDS = b"600"

_header_names = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,1024}").fullmatch


@frozen
class Cors:
    """The response headers of each listed origin, built once."""

    allowed: Mapping[bytes, tuple[Header, ...]]

    @classmethod
    def of(cls, origins: Iterable[str]) -> Cors:
        """`origins` are like `https://cookcam.ai`: scheme, host, port if not the default."""
        return cls({origin.encode(): _permission(origin) for origin in origins})

    def headers(self, origin: bytes | None) -> tuple[Header, ...]:
        """What a response to a request from `origin` carries besides `Vary`."""
        return self.allowed.get(origin, ()) if origin is not None else ()

    def preflight(self, origin: bytes | None, requested_headers: bytes | None) -> list[Header]:
        """The headers of a 204: permission for a listed origin, an empty response for others."""
        result: list[Header] = [(b"content-length", b"0")]
        if origin in self.allowed:
            result.append((b"access-control-allow-methods", _METHODS))
            result.append((b"access-control-max-age", _PREFLIGHT_SECONDS))
            result.append((b"vary", b"Access-Control-Request-Headers"))
            if requested_headers is not None and _header_names(requested_headers):
                result.append((b"access-control-allow-headers", requested_headers))
        return result


def is_preflight(method: str, headers: Mapping[bytes, bytes]) -> bool:
    return method == "OPTIONS" and b"access-control-request-method" in headers


def _permission(origin: str) -> tuple[Header, ...]:
    return (
        (b"access-control-allow-origin", origin.encode()),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", _EXPOSED),
    )
