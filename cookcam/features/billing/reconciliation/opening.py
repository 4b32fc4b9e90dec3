"""Reconciliation, put together: what assembly gives to routes and tasks, and the command runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from attrs import frozen

from cookcam.config import Config
from cookcam.features.billing.commissions import Commissions
from cookcam.features.billing.ledger.ledger import SubscriptionLedger
from cookcam.features.billing.reconciliation.corrections import Corrections
from cookcam.features.billing.reconciliation.service import (
    Reconciliation,
    StoreRefresh,
    UserReconciliation,
)
from cookcam.features.billing.reconciliation.sources.app_stores import (
    AppStoreSource,
    GooglePlaySource,
)
from cookcam.features.billing.reconciliation.sources.models import SubscriptionSource as Source
from cookcam.features.billing.reconciliation.sources.stripe import (
    BACKGROUND_RETRIES,
    StripeSource,
)
from cookcam.features.billing.reconciliation.store import ReconciliationStore
from cookcam.features.billing.tiers.catalogue import Catalogue
from cookcam.integrations.app_store import AppStore
from cookcam.integrations.google_play import GooglePlay
from cookcam.integrations.stripe import Stripe
from cookcam.observability.metrics import Metrics


@frozen
class Reconciling:
    """`store_refresh` is for those who wait for their status (`Payments.of(refreshes=…)`)."""

    all: Reconciliation
    of_users: UserReconciliation
    store_refresh: StoreRefresh

    @classmethod
    def of(
        cls,
        ledger: SubscriptionLedger,
        catalogue: Catalogue,
        stripe: Stripe | None,
        commissions: Commissions,
        now: Callable[[], datetime],
        metrics: Metrics,
        *,
        stores: Sequence[Source],
    ) -> Reconciling:
        """A user who waits gets Stripe's own policy, a run the patient one (§7.3)."""
        store = ReconciliationStore(ledger.database)
        corrections = Corrections(ledger, ledger.store, commissions, now)

        def sources(client: Stripe | None) -> list[Source]:
            of_stripe = [StripeSource(client, catalogue, ledger.store, now)] if client else []
            return [*of_stripe, *stores]

        patient = stripe.with_policy(BACKGROUND_RETRIES) if stripe is not None else None
        return cls(
            Reconciliation(store, sources(patient), corrections, now, metrics),
            UserReconciliation(store, sources(stripe), corrections, now),
            StoreRefresh(UserReconciliation(store, stores, corrections, now)),
        )


def stores_of(config: Config, app_store: AppStore, google_play: GooglePlay) -> list[Source]:
    """The app stores that can be asked: what has no key is left out, and runs say so."""
    stores: list[Source] = []
    allow_sandbox = config.stores.allow_sandbox
    if config.stores.apple_private_key is not None:
        stores.append(AppStoreSource(app_store=app_store, allow_sandbox=allow_sandbox))
    if config.providers.google_service_account_key is not None:
        stores.append(GooglePlaySource(google_play=google_play, allow_sandbox=allow_sandbox))
    return stores
