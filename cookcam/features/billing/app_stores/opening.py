"""Purchases, put together: what assembly opens once and gives to routes and tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from attrs import frozen

from cookcam.config.readers import Secret
from cookcam.features.billing.app_stores.acknowledgements import Acknowledgements
from cookcam.features.billing.app_stores.events import TIMEOUT, StoreEvents, StoreWebhooks
from cookcam.features.billing.app_stores.grants import PurchaseGrants
from cookcam.features.billing.app_stores.proceeds import StoreProceeds
from cookcam.features.billing.app_stores.service import Purchases, ReceiptCipher
from cookcam.features.billing.app_stores.store import PurchaseStore
from cookcam.features.billing.commissions import Commissions
from cookcam.features.billing.ledger.ledger import SubscriptionLedger
from cookcam.features.billing.ledger.reversals import ReversalStore
from cookcam.features.billing.tiers.models import Platform
from cookcam.features.billing.tiers.service import Catalogue
from cookcam.features.billing.webhooks.inbox import WebhookInbox
from cookcam.features.billing.webhooks.store import APP_STORE_EVENTS, WebhookEventStore
from cookcam.integrations.app_store import AppStore
from cookcam.integrations.google_play import GooglePlay, PushTokens
from cookcam.observability.metrics import Metrics


@frozen
class AppStores:
    """`inbox` and `acknowledging` have background tasks."""

    purchases: Purchases
    inbox: StoreWebhooks
    acknowledging: Acknowledgements

    @classmethod
    def of(
        cls,
        ledger: SubscriptionLedger,
        catalogue: Catalogue,
        app_store: AppStore,
        google_play: GooglePlay,
        push_tokens: PushTokens,
        now: Callable[[], datetime],
        *,
        commissions: Commissions,
        fees: Mapping[Platform, int],
        superseded: Callable[[], None],
        metrics: Metrics,
        receipt_key: Secret | None,
        allow_sandbox: bool,
    ) -> AppStores:
        """`fees` are what the stores keep, in percent; `superseded` is called when a subscription
        has to be ended at Stripe."""
        database = ledger.database
        store = PurchaseStore(database)
        grants = PurchaseGrants(
            store, ledger.store, ledger, commissions, ReversalStore(database), superseded
        )
        acknowledging = Acknowledgements(store, google_play)
        proceeds = StoreProceeds(catalogue, google_play, fees)
        purchases = Purchases(
            database,
            store,
            grants,
            acknowledging,
            proceeds,
            app_store,
            google_play,
            ReceiptCipher(receipt_key),
            metrics,
            now,
            allow_sandbox,
        )
        events = StoreEvents(
            grants, acknowledging, proceeds, app_store, google_play, now, allow_sandbox
        )
        inbox = WebhookInbox(WebhookEventStore(database, APP_STORE_EVENTS), events, TIMEOUT)
        webhooks = StoreWebhooks(inbox, app_store, push_tokens)
        return cls(purchases, webhooks, acknowledging)
