"""CORS by an allow-list: a listed origin is echoed, any other gets no permission.

Source: `spec/http-api-core.md` §3.4 and R17 of `spec/client-contract.md`. The headers are on
every response of the edge, errors and refusals included, and a preflight is answered before
anything is counted or read.
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
    """The answer headers of each listed origin, made once."""

    allowed: Mapping[bytes, tuple[Header, ...]]

    @classmethod
    def of(cls, origins: Iterable[str]) -> Cors:
        """`origins` are like `https://cookcam.ai`: scheme, host, port if not the default."""
        return cls({origin.encode(): _permission(origin) for origin in origins})

    def headers(self, origin: bytes | None) -> tuple[Header, ...]:
        """What a response to a request from `origin` carries besides `Vary`."""
        return self.allowed.get(origin, ()) if origin is not None else ()

    def preflight(self, origin: bytes | None, asked_headers: bytes | None) -> list[Header]:
        """The headers of a 204: permission for a listed origin, an empty answer for others."""
        answer: list[Header] = [(b"content-length", b"0")]
        if origin in self.allowed:
            answer.append((b"access-control-allow-methods", _METHODS))
            answer.append((b"access-control-max-age", _PREFLIGHT_SECONDS))
            answer.append((b"vary", b"Access-Control-Request-Headers"))
            if asked_headers is not None and _header_names(asked_headers):
                answer.append((b"access-control-allow-headers", asked_headers))
        return answer


def is_preflight(method: str, headers: Mapping[bytes, bytes]) -> bool:
    return method == "OPTIONS" and b"access-control-request-method" in headers


def _permission(origin: str) -> tuple[Header, ...]:
    return (
        (b"access-control-allow-origin", origin.encode()),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", _EXPOSED),
    )
