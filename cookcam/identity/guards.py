"""Guards: decorators that declare who may call a view.

    @bp.get("/auth/me")
    @signed_in
    async def me(caller: Identity) -> Me: ...

A guard passes the caller as the first argument and puts the user id (nothing else of the user)
into the log context and the facts of the request. The authenticator is the one in
`current_app.extensions["authenticator"]`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar, cast

from quart import current_app, request

from cookcam.errors import AppError, AuthenticationError, InsufficientPermissions
from cookcam.http.request_info import current_request_info
from cookcam.http.route_options import for_administrators, secured
from cookcam.identity.models import Identity
from cookcam.identity.tokens import Authenticator
from cookcam.observability.context import add_log_fields

P = ParamSpec("P")
R = TypeVar("R")


def signed_in(
    view: Callable[Concatenate[Identity, P], Awaitable[R]],
) -> Callable[P, Awaitable[R]]:
    """Require a valid access token of an active account; the view gets the caller.

    Raises AuthenticationError without a bearer token, TokenExpired for one that is invalid or
    whose account is banned or deleted, and ServiceUnavailable when that cannot be checked.
    """

    @wraps(view)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        return await view(await identify_caller(bearer_token()), *args, **kwargs)

    return secured(guarded)


def signed_in_or_deleted(
    view: Callable[Concatenate[Identity, P], Awaitable[R]],
) -> Callable[P, Awaitable[R]]:
    """`signed_in` that also admits an account whose deletion was requested or has finished.

    For the routes on which a client learns of a deletion, repeats it, or signs out.
    """

    @wraps(view)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        return await view(
            await identify_caller(bearer_token(), allow_deleted=True), *args, **kwargs
        )

    return secured(guarded)


def optional_caller(
    view: Callable[Concatenate[Identity | None, P], Awaitable[R]],
) -> Callable[P, Awaitable[R]]:
    """The view gets the caller, or None without a valid token."""

    @wraps(view)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            caller = await identify_caller(bearer_token())
        except AppError:
            caller = None
        return await view(caller, *args, **kwargs)

    return secured(guarded, optional=True)


def admin_only(
    view: Callable[Concatenate[Identity, P], Awaitable[R]],
) -> Callable[P, Awaitable[R]]:
    """Require an administrator's token; raises InsufficientPermissions for others."""

    @wraps(view)
    async def guarded(caller: Identity, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if not caller.is_admin:
            raise InsufficientPermissions("Administrators only", error="Admin access required")
        return await view(caller, *args, **kwargs)

    return for_administrators(signed_in(guarded))


def bearer_token() -> str:
    """The token of the running request. Raises AuthenticationError where there is none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise AuthenticationError(error="Authentication required")
    return token


async def identify_caller(token: str, *, allow_deleted: bool = False) -> Identity:
    """The owner of a token, who is noted as the user of the running request. Raises as `signed_in`
    does."""
    authenticator = cast("Authenticator", current_app.extensions["authenticator"])
    caller = await authenticator.identify(token, allow_deleted=allow_deleted)
    current_request_info().user_id = str(caller.user_id)
    add_log_fields(userId=str(caller.user_id))
    return caller
