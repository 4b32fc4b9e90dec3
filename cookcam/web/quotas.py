"""Which requests use which quota, and how a handler uses one of its own.

Source: `spec/http-api-core.md` §3.5, `spec/operations.md` §6. Probes and the Socket.IO transport
are not counted here: the first must always be answered, the second has limits of its own.
"""

from __future__ import annotations

from typing import cast

from quart import current_app

from cookcam.web.paths import CANONICAL, LEGACY, PROBES, is_socket_transport
from cookcam.web.rate_limit import AUTH, GLOBAL, RateLimits

_PASSWORD_CHECKS = (
    ("POST", "/auth/signup"),
    ("POST", "/auth/login"),
    ("POST", "/auth/signin"),
    ("POST", "/auth/refresh"),
    ("POST", "/auth/forgot-password"),
    ("POST", "/auth/reset-password"),
    ("DELETE", "/auth/account"),
)

_AUTH_ROUTES = frozenset(
    (method, prefix + path) for method, path in _PASSWORD_CHECKS for prefix in (CANONICAL, LEGACY)
)


def buckets_of(method: str, path: str) -> tuple[str, ...]:
    """The buckets in which a request of a client address is counted; `path` is canonical."""
    if path in PROBES or is_socket_transport(path):
        return ()
    if (method, path) in _AUTH_ROUTES:
        return (GLOBAL, AUTH)
    return (GLOBAL,)


def spend(bucket: str, key: str) -> None:
    """Counts one attempt of the running request in a bucket, such as `("auth", email)`.

    Raises LimitReached (429) when the quota of `key` is used up.
    """
    cast("RateLimits", current_app.extensions["rate_limits"]).spend(bucket, key)
