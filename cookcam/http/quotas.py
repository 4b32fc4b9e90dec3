"""How a handler uses a quota of the running request (docs/http.md, "Limits").

A route declares a limit by client address with the `rate_limit` option, and a limit by caller
with `user_limit`. Its aliases and prefixes share the quota.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast
from uuid import UUID

from quart import current_app

from cookcam.errors import AppError, AuthenticationError
from cookcam.http.client_address import quota_key
from cookcam.http.rate_limit import (
    ANALYTICS,
    COSTLY_FOR_GUESTS,
    COSTLY_FOR_USERS,
    GLOBAL,
    PAYMENTS,
    UNVERIFIED,
    LimitReached,
    QuotaState,
    RateLimits,
)
from cookcam.http.request_info import current_request_info
from cookcam.http.responses import RawResponse
from cookcam.http.route_options import set_route_options

P = ParamSpec("P")
R = TypeVar("R")


class Caller(Protocol):
    """The identity that a guard passes first."""

    @property
    def user_id(self) -> UUID: ...


def user_limit(
    purpose: str,
) -> Callable[
    [Callable[Concatenate[Any, P], Awaitable[R]]], Callable[Concatenate[Any, P], Awaitable[R]]
]:
    """Counts each request of a route for its caller. Stands below the guard.

    `PAYMENTS` and `ANALYTICS` are buckets of their own; any other purpose is counted by
    `count_costly`.
    """

    def decorate(
        view: Callable[Concatenate[Any, P], Awaitable[R]],
    ) -> Callable[Concatenate[Any, P], Awaitable[R]]:
        @wraps(view)
        async def limited(caller: Caller, /, *args: P.args, **kwargs: P.kwargs) -> R:
            if purpose in (PAYMENTS, ANALYTICS):
                await spend(purpose, str(caller.user_id))
            else:
                await count_costly(purpose, caller.user_id)
            return await view(caller, *args, **kwargs)

        return limited

    return decorate


def counted_by_caller(view: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Keeps the requests of a route out of the general quota of the client address.

    Stands above the guard, with `user_limit` below it. A request that the guard rejects is counted
    in the general quota.
    """

    @wraps(view)
    async def counted(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await view(*args, **kwargs)
        except AuthenticationError:
            await spend(GLOBAL, quota_key(current_request_info().client_address))
            raise

    return set_route_options(counted, general_quota=False)


def limit_unverified(view: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Rejects deliveries of a client address that has sent too many which failed verification.

    For webhooks whose verification is expensive: an address over the limit is rejected before its
    body is read. Stands above what reads the body.
    """

    @wraps(view)
    async def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        key = quota_key(current_request_info().client_address)
        await spend(UNVERIFIED, key, count=False)
        try:
            result = await view(*args, **kwargs)
        except AppError as error:
            if 400 <= error.status < 500:
                await spend(UNVERIFIED, key)
            raise
        if isinstance(result, RawResponse) and 400 <= result.status < 500:
            await spend(UNVERIFIED, key)
        return result

    return limited


async def spend(bucket: str, key: str, *, count: bool = True) -> QuotaState | None:
    """Counts one attempt of the running request in a bucket, or only checks without `count`.

    Raises LimitReached (429) when the quota of `key` is used up.
    """
    try:
        return await _limits().spend(bucket, key, count=count)
    except LimitReached:
        current_request_info().limited_by = bucket
        raise


async def is_used_up(bucket: str, key: str) -> bool:
    """Whether the quota of `key` is used up; counts nothing."""
    try:
        await _limits().spend(bucket, key, count=False)
    except LimitReached:
        return True
    return False


async def forget(bucket: str, key: str) -> None:
    """Reset the quota of `key`."""
    await _limits().forget(bucket, key)


async def count_costly(purpose: str, user_id: UUID | None) -> None:
    """Count a request that costs money or the server's quota at a provider.

    Each purpose, such as `usda`, allows 10 requests a minute for a user and 3 for the address of a
    guest (`user_id` None). Raises LimitReached (429).
    """
    if user_id is None:
        await spend(
            COSTLY_FOR_GUESTS, f"{purpose}:{quota_key(current_request_info().client_address)}"
        )
    else:
        await spend(COSTLY_FOR_USERS, f"{purpose}:{user_id}")


def _limits() -> RateLimits:
    return cast("RateLimits", current_app.extensions["rate_limits"])
