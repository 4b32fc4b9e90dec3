"""Who may start and watch runs: administrators, and holders of the operations key.

Source: `spec/payments-and-gamification.md` §8.1.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from hmac import compare_digest
from typing import ParamSpec, TypeVar

from attrs import frozen
from quart import request

from cookcam.config.readers import Secret
from cookcam.errors import AuthorizationError
from cookcam.http import secured
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in

P = ParamSpec("P")
R = TypeVar("R")


class Forbidden(AuthorizationError):
    code = "FORBIDDEN"


@frozen
class Operators:
    """`key` comes as `X-API-Key`; without one only administrators may."""

    key: Secret | None

    def only(self, view: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        """Raises Forbidden for other callers, and what `signed_in` raises for nobody."""

        @signed_in
        async def as_administrator(caller: Identity, /, *args: P.args, **kwargs: P.kwargs) -> R:
            if not caller.is_admin:
                raise Forbidden("Administrators only")
            return await view(*args, **kwargs)

        @wraps(view)
        async def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            if self._has_key():
                return await view(*args, **kwargs)
            return await as_administrator(*args, **kwargs)

        return secured(guarded)

    def _has_key(self) -> bool:
        offered = request.headers.get("X-API-Key")
        if offered is None or self.key is None:
            return False
        return compare_digest(offered.encode(), self.key.reveal().encode())
