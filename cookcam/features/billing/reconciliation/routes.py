"""Routes under `/reconciliation`: runs and their results.

Operators are administrators, and holders of the operations key.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from typing import ParamSpec, TypeVar
from uuid import UUID

from attrs import frozen
from quart import request

from cookcam.config.readers import Secret
from cookcam.errors import AuthorizationError
from cookcam.features.billing.reconciliation.responses import (
    ReconciliationAlertsResponse,
    ReconciliationHealthResponse,
    ReconciliationMetricsResponse,
    ReconciliationRunResponse,
    UserReconciliationResponse,
)
from cookcam.features.billing.reconciliation.service import Reconciliation, UserReconciliation
from cookcam.http import Routes, secured, unconditional, validate_response
from cookcam.http.internal import is_one_of
from cookcam.http.route_options import for_administrators
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in

P = ParamSpec("P")
R = TypeVar("R")


class Forbidden(AuthorizationError):
    code = "FORBIDDEN"


@frozen
class Operators:
    """`keys` are accepted as `X-API-Key`; without one only administrators are operators."""

    keys: Sequence[Secret]

    def only(self, view: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        """Raises Forbidden for other callers, and AuthenticationError without a token."""

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

        return for_administrators(secured(guarded))

    def _has_key(self) -> bool:
        key = request.headers.get("X-API-Key")
        return key is not None and is_one_of(key, self.keys)


def routes(
    reconciliation: Reconciliation, of_users: UserReconciliation, operators: Operators
) -> Routes:
    bp = Routes("reconciliation", __name__)

    @bp.post("/reconciliation/run")
    @operators.only
    @validate_response(ReconciliationRunResponse)
    async def run() -> ReconciliationRunResponse:
        """Start a run in the background."""
        return ReconciliationRunResponse.of(started=await reconciliation.request_run())

    @bp.post("/reconciliation/user/<user_id>")
    @signed_in
    @validate_response(UserReconciliationResponse)
    async def reconcile_user(caller: Identity, user_id: str) -> UserReconciliationResponse:
        """Compare the caller's own subscriptions with their providers, at most once a minute."""
        if _uuid(user_id) != caller.user_id:
            raise Forbidden("You can only reconcile your own subscriptions")
        await of_users.reconcile(caller.user_id)
        return UserReconciliationResponse.of(caller.user_id)

    @bp.get("/reconciliation/metrics")
    @unconditional
    @operators.only
    @validate_response(ReconciliationMetricsResponse)
    async def metrics() -> ReconciliationMetricsResponse:
        """The ten newest runs."""
        return ReconciliationMetricsResponse.of(await reconciliation.newest_runs())

    @bp.get("/reconciliation/health")
    @unconditional
    @operators.only
    @validate_response(ReconciliationHealthResponse)
    async def health() -> ReconciliationHealthResponse:
        """The last 30 days, by day."""
        return ReconciliationHealthResponse.of(await reconciliation.health())

    @bp.get("/reconciliation/alerts")
    @unconditional
    @operators.only
    @validate_response(ReconciliationAlertsResponse)
    async def alerts() -> ReconciliationAlertsResponse:
        """The runs of the last 7 days that exceeded a threshold."""
        return ReconciliationAlertsResponse.of(await reconciliation.alerts())

    return bp


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
