"""`/reconciliation`: runs, and what they found (`spec/payments-and-gamification.md` §8.1)."""

from __future__ import annotations

from uuid import UUID

from cookcam.features.billing.reconciliation.guards import Forbidden, Operators
from cookcam.features.billing.reconciliation.responses import (
    ReconciliationAlertsResponse,
    ReconciliationHealthResponse,
    ReconciliationMetricsResponse,
    ReconciliationRunResponse,
    UserReconciliationResponse,
)
from cookcam.features.billing.reconciliation.service import Reconciliation, UserReconciliation
from cookcam.http import Routes, unconditional, validate_response
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in


def routes(
    reconciliation: Reconciliation, of_users: UserReconciliation, operators: Operators
) -> Routes:
    bp = Routes("reconciliation", __name__)

    @bp.post("/reconciliation/run")
    @operators.only
    @validate_response(ReconciliationRunResponse)
    async def run() -> ReconciliationRunResponse:
        """Starts a run; it goes on after the answer."""
        return ReconciliationRunResponse.of(started=await reconciliation.request())

    @bp.post("/reconciliation/user/<user_id>")
    @signed_in
    @validate_response(UserReconciliationResponse)
    async def reconcile_user(caller: Identity, user_id: str) -> UserReconciliationResponse:
        """Compares the caller's own subscriptions with their providers, once a minute at most."""
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
        return ReconciliationMetricsResponse.of(await reconciliation.newest())

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
        """The runs of the last 7 days that were over a threshold."""
        return ReconciliationAlertsResponse.of(await reconciliation.alerts())

    return bp


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
