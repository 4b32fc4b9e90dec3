"""Stripe's events and their effects.

| event                                      | effect                                              |
|--------------------------------------------|-----------------------------------------------------|
| customer.subscription.created, updated,    | the row takes the state of the event; `sync`        |
|   deleted, paused, resumed                 |   decides on events out of order                    |
| customer.subscription.trial_will_end       | the same, and the user is notified                  |
| checkout.session.completed,                | a paid one of a subscription: the row, and the      |
|   checkout.session.async_payment_succeeded |   conversion of the affiliate's link                |
| invoice.paid, invoice.payment_succeeded    | the row as Stripe has it, unless it shows the       |
|                                            |   payment already; the commission                   |
| invoice.payment_failed                     | the row as Stripe has it; the user is notified      |
| charge.refunded                            | the refund; if all of the current period's payment  |
|                                            |   was refunded, the subscription ends               |
| charge.dispute.created, closed             | the amount in dispute, or its return                |

An event that names a subscription without its state never changes the row directly: Stripe is read,
unless the row has the event's effect already.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol, TypeAlias
from uuid import UUID

from attrs import evolve, field, frozen

from cookcam.database import Transaction
from cookcam.features.billing.commissions import MoneyBack, Receipt
from cookcam.features.billing.ledger.changes import SourceEvent
from cookcam.features.billing.stripe.sync import (
    UNKNOWN_ORDER,
    StripeSync,
    SubscriptionSnapshot,
    SyncResult,
)
from cookcam.features.billing.tiers.models import LIVE, Status, Subscription
from cookcam.features.billing.webhooks.inbox import WebhookInbox
from cookcam.features.billing.webhooks.store import ClaimedEvent, EventHeader, EventResult
from cookcam.features.messaging.notifications.messages import (
    Notification,
    payment_failed,
    trial_will_end,
)
from cookcam.features.messaging.notifications.queue_store import QueueStore
from cookcam.integrations.stripe.billing import CheckoutSession, Invoice
from cookcam.integrations.stripe.billing import Subscription as StripeSubscription
from cookcam.integrations.stripe.charges import Charge, Dispute
from cookcam.integrations.stripe.events import Event
from cookcam.integrations.stripe.reading import uuid_of

STRIPE_TIMEOUT: Final = 8.0
"""Seconds for one event. Stripe waits about ten for a response."""
PAID: Final = ("paid", "no_payment_required")
WITHDRAWN: Final = ("won", "warning_closed", "prevented")
"""The status of a dispute that no longer withholds money."""

TYPES: Final = frozenset(
    {
        "customer.subscription.created",
        "customer.subscription.updated",
        "customer.subscription.deleted",
        "customer.subscription.paused",
        "customer.subscription.resumed",
        "customer.subscription.trial_will_end",
        "checkout.session.completed",
        "checkout.session.async_payment_succeeded",
        "invoice.paid",
        "invoice.payment_succeeded",
        "invoice.payment_failed",
        "charge.refunded",
        "charge.dispute.created",
        "charge.dispute.closed",
    }
)


class ConnectEvents(Protocol):
    """Stripe's events that concern creators: of their accounts, and of the platform's account.

    Events of their accounts (`account.updated`, `payout.paid`) have `Event.account`; `transfer.…`
    and `payment_intent.…` are of our own.
    """

    @property
    def account_types(self) -> Collection[str]: ...

    @property
    def platform_types(self) -> Collection[str]: ...

    async def read(self, event: Event) -> Any:
        """Reads from Stripe what `apply` needs. None: nothing."""
        ...

    async def apply(self, tx: Transaction, event: Event, reading: Any) -> Sequence[Notification]:
        """Writes the changes; returns the notifications to write with them."""
        ...


@frozen
class SubscriptionNotice:
    """A notification to the subscriber, if the row has the status."""

    write: Callable[[UUID, Mapping[str, Any], str, datetime], Sequence[Notification]]
    status: Status
    data: Mapping[str, Any]


@frozen
class StripePlan:
    """The changes of an event. `row` is the subscription's row if no snapshot is to be written.

    `invoice` is a paid one, `reading` what `ConnectEvents.read` returned.
    """

    snapshot: SubscriptionSnapshot | None = None
    row: Subscription | None = None
    is_first_payment: bool = False
    invoice: Invoice | None = None
    money_back: MoneyBack | None = None
    notice: SubscriptionNotice | None = None
    reading: Any = None


@frozen(kw_only=True)
class StripeResult(EventResult):
    sync: SyncResult = field(factory=SyncResult)


StripeInbox: TypeAlias = WebhookInbox[Event, StripePlan, StripeResult]


@frozen
class StripeEvents:
    """Implements `EventProcessor` for Stripe.

    An event of a connected account is never handled as one of our own, on whichever endpoint it
    arrives: what the account's owner does there must not look like a payment to us. Raises
    ValueError when a type has two handlers.
    """

    sync: StripeSync
    connect: ConnectEvents
    notifications: QueueStore
    now: Callable[[], datetime]

    def __attrs_post_init__(self) -> None:
        if both := TYPES & set(self.connect.platform_types):
            raise ValueError(f"two handlers of {', '.join(sorted(both))}")

    def header(self, event: Event) -> EventHeader:
        return EventHeader(
            "stripe", event.id, event.type, event.account, event.livemode, event.created
        )

    def handles(self, event: Event) -> bool:
        return self._is_of_creators(event) or (event.account is None and event.type in TYPES)

    async def restore(self, stored: ClaimedEvent) -> Event:
        if stored.payload is None:
            return await self.sync.stripe.retrieve_event(stored.event_id)
        return Event.of(stored.payload)

    async def read(self, event: Event) -> StripePlan | None:
        if self._is_of_creators(event):
            return StripePlan(reading=await self.connect.read(event))
        if not self.handles(event):
            return None
        match event.type:
            case "customer.subscription.trial_will_end":
                return await self._read_trial_end(event)
            case "checkout.session.completed" | "checkout.session.async_payment_succeeded":
                return await self._read_checkout(event)
            case "invoice.paid" | "invoice.payment_succeeded":
                return await self._read_paid_invoice(event)
            case "invoice.payment_failed":
                return await self._read_unpaid_invoice(event)
            case "charge.refunded":
                return await self._read_refund(event)
            case "charge.dispute.created" | "charge.dispute.closed":
                return await self._read_dispute(event)
            case _:
                subscription = StripeSubscription.of(event.object)
                return StripePlan(await self.sync.from_event(subscription, event.created))

    async def read_again(self, event: Event, plan: StripePlan) -> StripePlan:
        if plan.snapshot is None:
            return plan
        return evolve(plan, snapshot=await self.sync.read_again(plan.snapshot))

    async def apply(self, tx: Transaction, event: Event, plan: StripePlan) -> StripeResult | None:
        if self._is_of_creators(event):
            await self.notifications.add(tx, await self.connect.apply(tx, event, plan.reading))
            return StripeResult()
        sync = SyncResult(plan.row)
        if plan.snapshot is not None:
            sync = await self.sync.apply(tx, plan.snapshot, SourceEvent("stripe", event.id))
        if sync.is_unknown_order:
            return None
        if sync.subscription is not None:
            await self._book_payment(tx, event, plan, sync.subscription)
            await self._notify(tx, event, plan.notice, sync.subscription)
        if plan.money_back is not None:
            await self.sync.commissions.on_refund(tx, plan.money_back)
        return StripeResult(sync=sync)

    async def after_commit(self, result: StripeResult) -> None:
        self.sync.after_commit(result.sync)

    def _is_of_creators(self, event: Event) -> bool:
        connect = self.connect
        types = connect.platform_types if event.account is None else connect.account_types
        return event.type in types

    async def _book_payment(
        self, tx: Transaction, event: Event, plan: StripePlan, row: Subscription
    ) -> None:
        commissions, invoice = self.sync.commissions, plan.invoice
        if plan.is_first_payment:
            await commissions.on_first_paid(tx, row)
        if invoice is not None and invoice.net_cents > 0:
            receipt = Receipt(
                _invoice_ref(invoice), row, invoice.net_cents, invoice.currency, event.created
            )
            await commissions.on_invoice_paid(tx, receipt)

    async def _notify(
        self, tx: Transaction, event: Event, notice: SubscriptionNotice | None, row: Subscription
    ) -> None:
        if notice is not None and row.provider_status == notice.status:
            data = {"subscription_id": row.id, "tier_id": row.tier_id, **notice.data}
            notifications = notice.write(row.user_id, data, event.id, self.now())
            await self.notifications.add(tx, notifications)

    # Subscriptions and invoices

    async def _read_trial_end(self, event: Event) -> StripePlan:
        subscription = StripeSubscription.of(event.object)
        snapshot = await self.sync.from_event(subscription, event.created)
        data = {"trial_ends_at": subscription.trial_end}
        return StripePlan(snapshot, notice=SubscriptionNotice(trial_will_end, "trialing", data))

    async def _read_checkout(self, event: Event) -> StripePlan | None:
        session = CheckoutSession.of(event.object)
        subscription_id = session.subscription_id
        if session.mode != "subscription" or subscription_id is None:
            return None
        if session.payment_status not in PAID:
            return None
        is_first_payment = session.payment_status == "paid"
        row = await self.sync.find(subscription_id)
        if row is not None and row.provider_status in LIVE:
            return StripePlan(row=row, is_first_payment=True) if is_first_payment else None
        user_id = uuid_of(session.metadata.get("user_id") or session.client_reference_id)
        snapshot = await self.sync.read(subscription_id, row, user_id)
        return StripePlan(snapshot, is_first_payment=is_first_payment)

    async def _read_paid_invoice(self, event: Event) -> StripePlan | None:
        invoice = Invoice.of(event.object)
        if invoice.subscription_id is None or invoice.status != "paid":
            return None
        row = await self.sync.find(invoice.subscription_id)
        if row is not None and _shows_payment(row, invoice, event):
            return StripePlan(row=row, invoice=invoice)
        snapshot = await self._snapshot_of(invoice.subscription_id, invoice, row)
        return StripePlan(snapshot, invoice=invoice)

    async def _read_unpaid_invoice(self, event: Event) -> StripePlan | None:
        invoice = Invoice.of(event.object)
        if invoice.subscription_id is None or invoice.billing_reason == "subscription_create":
            return None  # the user is making the first payment, and sees its failure
        data = {"next_payment_attempt": invoice.next_payment_attempt}
        notice = SubscriptionNotice(payment_failed, "past_due", data)
        row = await self.sync.find(invoice.subscription_id)
        if row is not None and row.provider_status == "past_due":
            return StripePlan(row=row, notice=notice)
        snapshot = await self._snapshot_of(invoice.subscription_id, invoice, row)
        return StripePlan(snapshot, notice=notice)

    async def _snapshot_of(
        self, subscription_id: str, invoice: Invoice, row: Subscription | None
    ) -> SubscriptionSnapshot:
        user_id = uuid_of(invoice.subscription_metadata.get("user_id"))
        return await self.sync.read(subscription_id, row, user_id)

    # Refunds and disputes

    async def _read_refund(self, event: Event) -> StripePlan:
        # The current charge: the events of several refunds arrive in any order.
        stripe = self.sync.stripe
        charge = await stripe.retrieve_charge(Charge.of(event.object).id)
        invoice = await self._invoice_of(charge)
        refund_ref, cents = f"stripe:refund:{charge.id}", charge.amount_refunded_cents
        money_back = _money_back(refund_ref, cents, charge, invoice, event)
        row = None
        if invoice is not None and invoice.subscription_id is not None:
            row = await self.sync.find(invoice.subscription_id)
        if row is None or invoice is None:
            return StripePlan(money_back=money_back)
        if not (charge.refunded and _is_current(row, invoice)):
            return StripePlan(money_back=money_back)
        ended = await stripe.cancel_subscription_now(row.provider_subscription_id or "")
        snapshot = await self.sync.from_response(ended, row, refunded=True)
        return StripePlan(snapshot, money_back=money_back)

    async def _read_dispute(self, event: Event) -> StripePlan:
        stripe = self.sync.stripe
        dispute = await stripe.retrieve_dispute(Dispute.of(event.object).id)
        charge = await stripe.retrieve_charge(dispute.charge_id)
        invoice = await self._invoice_of(charge)
        cents = 0 if dispute.status in WITHDRAWN else dispute.amount_cents
        dispute_ref = f"stripe:dispute:{dispute.id}"
        return StripePlan(money_back=_money_back(dispute_ref, cents, charge, invoice, event))

    async def _invoice_of(self, charge: Charge) -> Invoice | None:
        if charge.payment_intent_id is None:
            return None
        invoice_id = await self.sync.stripe.invoice_of_payment(charge.payment_intent_id)
        return None if invoice_id is None else await self.sync.stripe.retrieve_invoice(invoice_id)


def _invoice_ref(invoice: Invoice) -> str:
    return f"stripe:{invoice.id}"


def _shows_payment(row: Subscription, invoice: Invoice, event: Event) -> bool:
    """Whether the row shows that the invoice was paid, or something newer."""
    if row.as_of > event.created + UNKNOWN_ORDER:
        return True
    covered = invoice.period_end is None or row.current_period_end >= invoice.period_end
    return covered and row.provider_status in ("active", "trialing")


def _is_current(row: Subscription, invoice: Invoice) -> bool:
    """Whether the invoice is that of the current period of a live subscription."""
    if row.provider_status not in LIVE:
        return False
    return invoice.period_end is None or invoice.period_end >= row.current_period_end


def _money_back(
    ref: str, cents: int, charge: Charge, invoice: Invoice | None, event: Event
) -> MoneyBack:
    return MoneyBack(
        ref=ref,
        receipt_ref=None if invoice is None else _invoice_ref(invoice),
        payment_id=charge.payment_intent_id,
        paid_cents=charge.amount_cents,
        back_cents=cents,
        currency=charge.currency,
        at=event.created,
    )
