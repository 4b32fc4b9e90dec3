"""What Stripe's events about subscriptions mean here (`spec/payments-and-gamification.md` §5.5).

| event                                      | what is done                                        |
|--------------------------------------------|-----------------------------------------------------|
| customer.subscription.created, updated,    | the row becomes what the event tells; see           |
|   deleted, paused, resumed                 |   `stripe_states` for events out of order           |
| customer.subscription.trial_will_end       | the same, and the user is told                      |
| checkout.session.completed,                | if it is a paid one of a subscription: the row, and |
|   checkout.session.async_payment_succeeded |   the conversion                                    |
| invoice.paid, invoice.payment_succeeded    | the row as Stripe has it, if it does not show the   |
|                                            |   payment yet; the receipt                          |
| invoice.payment_failed                     | the row as Stripe has it; the user is told          |
| charge.refunded                            | what went back; if all of the present period's      |
|                                            |   payment did, the subscription ends                |
| charge.dispute.created, closed             | what is claimed back, or no longer                  |

An event that names a subscription and not its state never changes the row by itself: Stripe is
asked, unless the row shows already what it says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from attrs import frozen

from cookcam.database import Transaction
from cookcam.features.billing.commissions import MoneyBack, Receipt
from cookcam.features.billing.ledger.changes import SourceEvent
from cookcam.features.billing.stripe.handlers import AfterCommit, Handler, Write
from cookcam.features.billing.stripe.states import UNKNOWN_ORDER, Seen, uuid_of
from cookcam.features.billing.stripe.sync import StripeSync, Then
from cookcam.features.billing.tiers.models import LIVE, Subscription
from cookcam.integrations.stripe.billing import CheckoutSession, Invoice
from cookcam.integrations.stripe.billing import Subscription as StripeSubscription
from cookcam.integrations.stripe.charges import Charge, Dispute
from cookcam.integrations.stripe.events import Event
from cookcam.realtime.notifiers import UserNotifier

PAID = ("paid", "no_payment_required")
WITHDRAWN = ("won", "warning_closed", "prevented")
"""A dispute of this status claims nothing any more."""


@frozen
class SubscriptionEvents:
    sync: StripeSync
    hub: UserNotifier
    now: Callable[[], datetime]

    @property
    def handlers(self) -> Mapping[str, Handler]:
        subscription, invoice = "customer.subscription.", "invoice."
        return {
            f"{subscription}created": self.changed,
            f"{subscription}updated": self.changed,
            f"{subscription}deleted": self.changed,
            f"{subscription}paused": self.changed,
            f"{subscription}resumed": self.changed,
            f"{subscription}trial_will_end": self.trial_ends,
            "checkout.session.completed": self.bought,
            "checkout.session.async_payment_succeeded": self.bought,
            f"{invoice}paid": self.paid,
            f"{invoice}payment_succeeded": self.paid,
            f"{invoice}payment_failed": self.not_paid,
            "charge.refunded": self.refunded,
            "charge.dispute.created": self.disputed,
            "charge.dispute.closed": self.disputed,
        }

    # Subscriptions

    async def changed(self, event: Event) -> Write:
        told = StripeSubscription.of(event.object)
        return await self.sync.write_of(Seen(told, event.created), _source(event))

    async def trial_ends(self, event: Event) -> Write:
        told = StripeSubscription.of(event.object)

        async def tell(tx: Transaction, row: Subscription) -> AfterCommit | None:
            if row.told != "trialing":
                return None
            return partial(self._notify, row, "trial_will_end", trial_ends_at=told.trial_end)

        return await self.sync.write_of(Seen(told, event.created), _source(event), tell)

    async def bought(self, event: Event) -> Write | None:
        session = CheckoutSession.of(event.object)
        subscription_id = session.subscription_id
        if session.mode != "subscription" or subscription_id is None:
            return None
        if session.payment_status not in PAID:
            return None
        row = await self.sync.find(subscription_id)
        convert = self._convert if session.payment_status == "paid" else None
        if row is not None and row.told in LIVE:
            return None if convert is None else _on(row, convert)
        user_id = uuid_of(session.metadata.get("user_id") or session.client_reference_id)
        seen = await self.sync.read(subscription_id, row, user_id)
        return await self.sync.write_of(seen, _source(event), convert)

    # Invoices

    async def paid(self, event: Event) -> Write | None:
        invoice = Invoice.of(event.object)
        if invoice.subscription_id is None or invoice.status != "paid":
            return None
        book = partial(self._book, invoice, event.created)
        row = await self.sync.find(invoice.subscription_id)
        if row is not None and _shows(row, invoice, event):
            return _on(row, book)
        user_id = uuid_of(invoice.subscription_metadata.get("user_id"))
        seen = await self.sync.read(invoice.subscription_id, row, user_id)
        return await self.sync.write_of(seen, _source(event), book)

    async def not_paid(self, event: Event) -> Write | None:
        invoice = Invoice.of(event.object)
        if invoice.subscription_id is None or invoice.billing_reason == "subscription_create":
            return None  # a first payment is tried by the user, who sees that it failed

        async def tell(tx: Transaction, row: Subscription) -> AfterCommit | None:
            if row.told != "past_due":
                return None
            again = invoice.next_payment_attempt
            return partial(self._notify, row, "payment_failed", next_payment_attempt=again)

        row = await self.sync.find(invoice.subscription_id)
        if row is not None and row.told == "past_due":
            return _on(row, tell)
        user_id = uuid_of(invoice.subscription_metadata.get("user_id"))
        seen = await self.sync.read(invoice.subscription_id, row, user_id)
        return await self.sync.write_of(seen, _source(event), tell)

    async def _book(
        self, invoice: Invoice, paid_at: datetime, tx: Transaction, row: Subscription
    ) -> None:
        if invoice.net_cents > 0:
            receipt = Receipt(_ref(invoice), row, invoice.net_cents, invoice.currency, paid_at)
            await self.sync.commissions.on_invoice_paid(tx, receipt)

    async def _convert(self, tx: Transaction, row: Subscription) -> None:
        await self.sync.commissions.on_first_paid(tx, row)

    # Money that goes back

    async def refunded(self, event: Event) -> Write:
        # As it is now: of several refunds the events may come in any order.
        charge = await self.sync.stripe.retrieve_charge(Charge.of(event.object).id)
        invoice = await self._invoice_of(charge)
        ref, cents = f"stripe:refund:{charge.id}", charge.amount_refunded_cents
        book = partial(self._give_back, _back(ref, cents, charge, invoice, event))
        row = None
        if invoice is not None and invoice.subscription_id is not None:
            row = await self.sync.find(invoice.subscription_id)
        if row is None or invoice is None or not (charge.refunded and _is_present(row, invoice)):
            return book
        told = await self.sync.stripe.cancel_subscription_now(row.provider_subscription_id or "")
        seen = self.sync.answered(told, row, refunded=True)

        async def also(tx: Transaction, _: Subscription) -> None:
            await book(tx)

        return await self.sync.write_of(seen, _source(event), also)

    async def disputed(self, event: Event) -> Write:
        dispute = await self.sync.stripe.retrieve_dispute(Dispute.of(event.object).id)
        charge = await self.sync.stripe.retrieve_charge(dispute.charge_id)
        invoice = await self._invoice_of(charge)
        claimed = 0 if dispute.status in WITHDRAWN else dispute.amount_cents
        back = _back(f"stripe:dispute:{dispute.id}", claimed, charge, invoice, event)
        return partial(self._give_back, back)

    async def _give_back(self, back: MoneyBack, tx: Transaction) -> None:
        await self.sync.commissions.on_refund(tx, back)

    async def _invoice_of(self, charge: Charge) -> Invoice | None:
        if charge.payment_intent_id is None:
            return None
        invoice_id = await self.sync.stripe.invoice_of_payment(charge.payment_intent_id)
        return None if invoice_id is None else await self.sync.stripe.retrieve_invoice(invoice_id)

    # Words to users

    def _notify(self, row: Subscription, kind: str, **data: Any) -> None:
        self.hub.send_to_user(
            row.user_id,
            "user_notification",
            {
                "type": kind,
                "data": {"subscription_id": row.id, "tier_id": row.tier_id, **data},
                "timestamp": self.now(),
            },
        )


def _source(event: Event) -> SourceEvent:
    return SourceEvent("stripe", event.id)


def _ref(invoice: Invoice) -> str:
    return f"stripe:{invoice.id}"


def _on(row: Subscription, then: Then) -> Write:
    """Nothing becomes of the row, and something with it."""

    async def write(tx: Transaction) -> AfterCommit | None:
        return await then(tx, row)

    return write


def _shows(row: Subscription, invoice: Invoice, event: Event) -> bool:
    """Whether the row shows already that the invoice was paid, or something newer."""
    if row.as_of > event.created + UNKNOWN_ORDER:
        return True
    covered = invoice.period_end is None or row.current_period_end >= invoice.period_end
    return covered and row.told in ("active", "trialing")


def _is_present(row: Subscription, invoice: Invoice) -> bool:
    """Whether the invoice is that of the period which goes on, of a subscription that does."""
    if row.told not in LIVE:
        return False
    return invoice.period_end is None or invoice.period_end >= row.current_period_end


def _back(ref: str, cents: int, charge: Charge, invoice: Invoice | None, event: Event) -> MoneyBack:
    return MoneyBack(
        ref=ref,
        receipt_ref=None if invoice is None else _ref(invoice),
        payment_id=charge.payment_intent_id,
        paid_cents=charge.amount_cents,
        back_cents=cents,
        currency=charge.currency,
        at=event.created,
    )
