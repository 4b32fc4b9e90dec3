"""Which requests use which quota, and how a handler uses one of its own.

Source: `spec/http-api-core.md` §3.5, `spec/operations.md` §6. Probes, the Socket.IO transport and
webhooks are not counted here: the first must always be answered, the second has limits of its own,
and the third come from few addresses, bounded in size and checked for their signature first.
"""

from __future__ import annotations

from typing import cast
from uuid import UUID

from quart import current_app

from cookcam.web.facts import facts
from cookcam.web.paths import CANONICAL, LEGACY, PROBES, is_socket_transport
from cookcam.web.rate_limit import (
    AUTH,
    COSTLY_FOR_GUESTS,
    COSTLY_FOR_USERS,
    GLOBAL,
    RateLimits,
)

_PASSWORD_CHECKS = (
    ("POST", "/auth/signup"),
    ("POST", "/auth/login"),
    ("POST", "/auth/signin"),
    ("POST", "/auth/refresh"),
    ("POST", "/auth/forgot-password"),
    ("POST", "/auth/reset-password"),
    ("DELETE", "/auth/account"),
)

_WEBHOOKS = frozenset(
    prefix + path
    for prefix in (CANONICAL, LEGACY)
    for path in (
        "/subscription/webhook/stripe",
        "/subscription/webhook/stripe-connect",
        "/subscription/webhook/apple",
        "/subscription/webhook/google",
    )
)

_AUTH_ROUTES = frozenset(
    (method, prefix + path) for method, path in _PASSWORD_CHECKS for prefix in (CANONICAL, LEGACY)
)


def buckets_of(method: str, path: str) -> tuple[str, ...]:
    """The buckets in which a request of a client address is counted; `path` is canonical."""
    if path in PROBES or is_socket_transport(path) or path in _WEBHOOKS:
        return ()
    if (method, path) in _AUTH_ROUTES:
        return (GLOBAL, AUTH)
    return (GLOBAL,)


def spend(bucket: str, key: str) -> None:
    """Counts one attempt of the running request in a bucket, such as `("auth", email)`.

    Raises LimitReached (429) when the quota of `key` is used up.
    """
    cast("RateLimits", current_app.extensions["rate_limits"]).spend(bucket, key)


def spend_costly(purpose: str, user_id: UUID | None) -> None:
    """Counts a request that costs us something elsewhere, such as `("usda", user_id)`.

    Ten a minute for a user and three for the address of a guest (None), for each purpose apart.
    Raises LimitReached (429). Source: `spec/http-api-core.md` §3.5.
    """
    if user_id is None:
        spend(COSTLY_FOR_GUESTS, f"{purpose}:{facts().client_address}")
    else:
        spend(COSTLY_FOR_USERS, f"{purpose}:{user_id}")
