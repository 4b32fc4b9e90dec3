"""Payments by card, put together: what assembly opens once and gives to routes and tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol

from attrs import frozen

from cookcam.features.billing.commissions import Commissions
from cookcam.features.billing.ledger.ledger import SubscriptionLedger
from cookcam.features.billing.ledger.reversals import (
    ChargeReversals,
    ReversalObserver,
    ReversalProvider,
    ReversalStore,
    StripeReversals,
)
from cookcam.features.billing.stripe.billing_lease import BillingLeases
from cookcam.features.billing.stripe.checkout import Checkout
from cookcam.features.billing.stripe.events import (
    STRIPE_TIMEOUT,
    ConnectEvents,
    StripeEvents,
    StripeInbox,
)
from cookcam.features.billing.stripe.missed_events import MissedEvents
from cookcam.features.billing.stripe.plans import Plans, Refresh, StripeRefresh
from cookcam.features.billing.stripe.redirects import Redirects
from cookcam.features.billing.stripe.superseded import Bell, Superseded
from cookcam.features.billing.stripe.sync import StripeSync
from cookcam.features.billing.tiers.service import Entitlements
from cookcam.features.billing.webhooks.inbox import InboxObserver, WebhookInbox
from cookcam.features.billing.webhooks.store import STRIPE_EVENTS, WebhookEventStore
from cookcam.integrations.stripe import Stripe

NO_OTHERS: Final[Mapping[str, ReversalProvider]] = {}


class PaymentsObserver(InboxObserver, ReversalObserver, Protocol):
    """Counts and reports what happens in the background."""


@frozen
class Payments:
    """`inbox`, `missed`, `superseded`, `reversals` have background tasks; all but the last are None
    without payments."""

    checkout: Checkout
    plans: Plans
    inbox: StripeInbox | None
    missed: MissedEvents | None
    superseded: Superseded | None
    reversals: ChargeReversals

    @classmethod
    def of(
        cls,
        stripe: Stripe | None,
        ledger: SubscriptionLedger,
        entitlements: Entitlements,
        redirects: Redirects,
        now: Callable[[], datetime],
        *,
        commissions: Commissions,
        connect: ConnectEvents,
        observer: PaymentsObserver,
        refreshes: Sequence[Refresh] = (),
        reverses: Mapping[str, ReversalProvider] = NO_OTHERS,
    ) -> Payments:
        """`refreshes` read a user's subscriptions from other providers than Stripe;
        `reverses` refund charges, by their names in the database."""
        store, catalogue = ledger.store, entitlements.catalogue
        leases = BillingLeases(ledger.database)

        def checkout_of(sync: StripeSync | None) -> Checkout:
            return Checkout(
                sync, leases, store, catalogue, entitlements, commissions, redirects, now
            )

        if stripe is None:
            plans = Plans(None, entitlements, ledger, commissions, refreshes, leases, now)
            reversals = ChargeReversals(ReversalStore(ledger.database), reverses, observer)
            return cls(checkout_of(None), plans, None, None, None, reversals)
        bell = Bell()
        reversals = ChargeReversals(
            ReversalStore(ledger.database),
            {"stripe": StripeReversals(stripe), **reverses},
            observer,
        )
        sync = StripeSync(
            stripe,
            ledger,
            store,
            catalogue,
            commissions,
            reversals.store,
            bell.ring,
            reversals.wake,
            now,
        )
        events = StripeEvents(sync, connect, ledger.hub, now)
        store_of_events = WebhookEventStore(ledger.database, STRIPE_EVENTS)
        inbox = WebhookInbox(store_of_events, events, STRIPE_TIMEOUT, observer)
        refreshes_of_all = (StripeRefresh(sync), *refreshes)
        plans = Plans(sync, entitlements, ledger, commissions, refreshes_of_all, leases, now)
        missed = MissedEvents(inbox, stripe, now)
        superseded = Superseded(sync, bell)
        return cls(checkout_of(sync), plans, inbox, missed, superseded, reversals)
