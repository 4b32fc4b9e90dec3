"""Payments by card, put together: what assembly opens once and gives to routes and tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from attrs import frozen

from cookcam.features.subscriptions.checkout import Checkout
from cookcam.features.subscriptions.commissions import Commissions
from cookcam.features.subscriptions.entitlements import Entitlements
from cookcam.features.subscriptions.inbox import Inbox, InboxObserver
from cookcam.features.subscriptions.inbox_store import InboxStore
from cookcam.features.subscriptions.ledger import SubscriptionLedger
from cookcam.features.subscriptions.missed import MissedEvents
from cookcam.features.subscriptions.plans import Plans, Refresh, StripeRefresh
from cookcam.features.subscriptions.redirects import Redirects
from cookcam.features.subscriptions.stripe_events import SubscriptionEvents
from cookcam.features.subscriptions.stripe_handlers import ConnectEvents, Handlers
from cookcam.features.subscriptions.stripe_sync import StripeSync
from cookcam.features.subscriptions.superseded import Bell, Superseded
from cookcam.providers.stripe import Stripe


@frozen
class Payments:
    """`inbox`, `missed` and `superseded` have background tasks; None without payments."""

    checkout: Checkout
    plans: Plans
    inbox: Inbox | None
    missed: MissedEvents | None
    superseded: Superseded | None

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
        observer: InboxObserver,
        refreshes: Sequence[Refresh] = (),
    ) -> Payments:
        """`refreshes` ask other providers than Stripe what a user has there."""
        store, catalogue = ledger.store, entitlements.catalogue
        checkout = Checkout(stripe, store, catalogue, entitlements, commissions, redirects, now)
        if stripe is None:
            plans = Plans(None, entitlements, ledger, commissions, refreshes, now)
            return cls(checkout, plans, None, None, None)
        bell = Bell()
        sync = StripeSync(stripe, ledger, store, catalogue, commissions, bell.ring, now)
        events = SubscriptionEvents(sync, ledger.hub, now)
        inbox = Inbox(
            InboxStore(ledger.database),
            Handlers.of(events.handlers, connect),
            stripe.retrieve_event,
            observer,
        )
        asked = (StripeRefresh(sync), *refreshes)
        plans = Plans(sync, entitlements, ledger, commissions, asked, now)
        missed = MissedEvents(inbox, stripe, now)
        return cls(checkout, plans, inbox, missed, Superseded(sync, bell))
