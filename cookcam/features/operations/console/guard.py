"""The guard of the console's routes: the session cookie of an administrator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from quart import request

from cookcam.errors import AuthenticationError, AuthorizationError, InsufficientPermissions
from cookcam.identity import Identity
from cookcam.identity.console_cookie import is_same_origin, session_token
from cookcam.identity.guards import identify_caller

P = ParamSpec("P")
R = TypeVar("R")


def operator_only(
    view: Callable[Concatenate[Identity, P], Awaitable[R]],
) -> Callable[P, Awaitable[R]]:
    """Require the session of an administrator, and for a POST a page of this host.

    Raises AuthenticationError, AuthorizationError, InsufficientPermissions.
    """

    @wraps(view)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        if request.method != "GET":
            require_same_origin()
        caller = await identify_caller(current_token())
        if not caller.is_admin:
            raise not_an_admin()
        return await view(caller, *args, **kwargs)

    return guarded


def current_token() -> str:
    """The token of the session. Raises AuthenticationError without one."""
    token = session_token(request.headers.get("Cookie"))
    if token is None:
        raise AuthenticationError()
    return token


def not_an_admin() -> InsufficientPermissions:
    return InsufficientPermissions("This console is for administrators.")


def require_same_origin() -> None:
    """Raises AuthorizationError for a request that a page of another host has sent."""
    names = ("Sec-Fetch-Site", "Origin", "Host")
    if not is_same_origin(*(request.headers.get(name) for name in names)):
        raise AuthorizationError("The request came from another site")
