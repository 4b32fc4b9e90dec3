"""Addresses to which Stripe may redirect customers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

from attrs import frozen

from cookcam.errors import BadRequest

APP_SCHEME: Final = "cookcam"
MAX_LENGTH: Final = 2_000

# Characters that browsers ignore in an address, or parse differently from Python.
_SUSPICIOUS = re.compile(r"[\x00-\x20\x7f\\]|[^\x00-\x7f]")


@frozen
class Redirects:
    """`origins` have the form that `origins_of` returns; the app's scheme is always allowed."""

    origins: Collection[str]
    home: str

    @classmethod
    def of(cls, base_url: str, origins: Sequence[str]) -> Redirects:
        """`base_url` is the project's own website; it is the only origin if none are given."""
        return cls(origins_of(origins or (base_url,)), base_url.rstrip("/"))

    def checked(self, url: str) -> str:
        """The address, if customers may be redirected there. Raises BadRequest."""
        of_app = is_plain(url) and url.lower().startswith(f"{APP_SCHEME}://")
        if of_app or is_page_of(url, self.origins):
            return url
        raise BadRequest(
            "This address is not one of the project's", error="Redirect URL not allowed"
        )

    @property
    def after_payment(self) -> str:
        """Stripe replaces the braces by the id of the session."""
        return f"{self.home}/subscription/success?session_id={{CHECKOUT_SESSION_ID}}"

    @property
    def after_rejection(self) -> str:
        return f"{self.home}/subscription/cancel"

    @property
    def after_portal(self) -> str:
        return f"{self.home}/subscription"


def is_page_of(url: str, origins: Collection[str]) -> bool:
    """Whether a web address has one of `origins` (`origins_of`), however a browser parses it."""
    return is_plain(url) and origin_of(url) in origins


def is_plain(url: str) -> bool:
    return len(url) <= MAX_LENGTH and not _SUSPICIOUS.search(url)


def origins_of(urls: Iterable[str]) -> frozenset[str]:
    """The normalised origins of web addresses; invalid ones are skipped."""
    return frozenset(filter(None, map(origin_of, urls)))


def origin_of(url: str) -> str | None:
    """Scheme, host and port, normalised; None if it is not a web address with a plain host."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    host = parts.hostname
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        return None
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + ("" if port in (None, default) else f":{port}")
