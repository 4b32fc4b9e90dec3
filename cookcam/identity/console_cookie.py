"""The session of the operations console: an access token in a cookie that only `/ops` receives.

Scripts cannot read the cookie (`HttpOnly`). No other site can send it (`SameSite=Strict`), and what
changes something or opens a socket must also come from a page of this host: a sibling subdomain is
the same site. The token is checked on each use like any other.
"""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import urlsplit

CONSOLE: Final = "/ops"
CONSOLE_SOCKET: Final = f"{CONSOLE}/live"

_PLAIN: Final = "cookcam_ops"
_OVER_TLS: Final = "__Secure-cookcam_ops"
"""Browsers accept the prefix only with `Secure`: a page over HTTP cannot overwrite the cookie."""


def session_token(cookies: str | None) -> str | None:
    """The token in a `Cookie` header."""
    try:
        parsed = SimpleCookie(cookies or "")
    except CookieError:
        return None
    found = parsed.get(_OVER_TLS) or parsed.get(_PLAIN)
    return found.value or None if found else None


def session_cookie(token: str, *, max_age: int, over_tls: bool) -> str:
    """A `Set-Cookie` header; `max_age` is in seconds, 0 deletes the cookie."""
    name = f"{_OVER_TLS}={token}; Secure" if over_tls else f"{_PLAIN}={token}"
    return f"{name}; Path={CONSOLE}; Max-Age={max_age}; HttpOnly; SameSite=Strict"


def is_same_origin(fetch_site: str | None, origin: str | None, host: str | None) -> bool:
    """Whether a page of this host sent a request; the arguments are the headers of that name.

    Browsers send `Sec-Fetch-Site` over TLS and to this machine, and `Origin` elsewhere.
    https://www.w3.org/TR/fetch-metadata/
    """
    if fetch_site is not None:
        return fetch_site == "same-origin"
    return origin is not None and host is not None and urlsplit(origin).netloc == host
