"""Access to internal pages: with the internal API key, or from the same machine.

A loopback peer is accepted only without a forwarding header: a proxy on this machine is a loopback
peer too and forwards requests of any client.
"""

from __future__ import annotations

from collections.abc import Sequence
from hmac import compare_digest
from typing import Any

from cookcam.config.secret import Secret
from cookcam.errors import AuthenticationError
from cookcam.http.client_address import parse_address
from cookcam.http.requests import Request

_FORWARDING_FIELDS = frozenset(
    {
        *("forwarded", "via", "cdn-loop"),  # RFC 7239, RFC 9110 §7.6.3, RFC 8586
        *("x-real-ip", "x-client-ip", "x-cluster-client-ip", "x-proxyuser-ip", "client-ip"),
        *("true-client-ip", "x-remote-ip", "x-remote-addr", "x-rewrite-url"),
    }
)
_FORWARDING_PREFIXES = (
    *("x-forwarded", "x-original-", "x-envoy-", "x-amzn-", "x-azure-", "x-vercel-"),
    *("cf-", "fastly-", "fly-"),
)
"""Fields that proxies and content networks add to the requests they forward."""


def require_internal(request: Request, keys: Sequence[Secret] | None) -> None:
    """Raise AuthenticationError unless the caller may see internal pages: with one of `keys`."""
    offered = request.headers.get("X-API-Key")
    if offered is not None and keys is not None:
        if is_one_of(offered, keys):
            return
    elif offered is None and _is_direct_loopback(request):
        return
    raise AuthenticationError("Invalid API key", error="Invalid API key")


def is_one_of(offered: str, keys: Sequence[Secret]) -> bool:
    """Whether `offered` is one of `keys`, in a time that does not depend on which one it is."""
    return sum(compare_digest(offered.encode(), key.reveal().encode()) for key in keys) > 0


def _is_direct_loopback(request: Request) -> bool:
    client: Any = request.scope.get("client")
    address = parse_address(client[0]) if client else None
    if address is None or not address.is_loopback:
        return False
    return not any(_is_forwarding(name.lower()) for name, _ in request.headers.items())


def _is_forwarding(name: str) -> bool:
    return name in _FORWARDING_FIELDS or name.startswith(_FORWARDING_PREFIXES)
