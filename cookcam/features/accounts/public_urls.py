"""URLs that may appear in a public profile: https on a public host name.

The apps of all viewers fetch them. An IP address or a local name would send requests into the
viewer's network; credentials would publish a secret. The server never fetches these URLs, so it
does not resolve the names.
"""

from __future__ import annotations

import re
from typing import Final

PUBLIC_URL_PATTERN: Final = (
    r"^https://(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+"
    r"(?:[A-Za-z]{2,63}|[Xx][Nn]--[A-Za-z0-9-]{1,59})(?::443)?(?:[/?#][^\s\\\x00-\x1f\x7f]*)?$"
)
"""No user info, and a top-level domain of letters: no spelling of an IPv4 or IPv6 address ends in
one (WHATWG URL, "ends in a number"), and names in other scripts are written in Punycode."""

_PUBLIC_URL = re.compile(PUBLIC_URL_PATTERN.removeprefix("^").removesuffix("$"))
_HOST = re.compile(r"https://([^/?#:]+)")
_LOCAL_SUFFIXES: Final = (
    "alt", "arpa", "corp", "home", "internal", "intranet", "lan", "local", "localdomain",
    "localhost", "onion", "private",
)  # fmt: skip
"""Top-level domains of no public name (RFC 6761, RFC 6762, RFC 8375, RFC 9476, ICANN's
"internal"), among them the metadata services of clouds."""


def is_public_url(url: str) -> bool:
    """Whether `url` is https on a public host name."""
    host = _HOST.match(url)
    return (
        _PUBLIC_URL.fullmatch(url) is not None
        and host is not None
        and len(host[1]) <= 253
        and host[1].rpartition(".")[2].lower() not in _LOCAL_SUFFIXES
    )
