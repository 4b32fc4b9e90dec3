"""Subscriptions, invoices and time: the automatic part of Stripe Billing.

Source: Stripe's pages on how subscriptions work, their life cycle, prorations, schedules, smart
retries and test clocks.
"""

from __future__ import annotations

import heapq
import time
from typing import Final

from attrs import define, field

from cookcam.sandbox.stripe import shapes
from cookcam.sandbox.stripe.behaviour import DAY, Card
from cookcam.sandbox.stripe.faults import declined, invalid
from cookcam.sandbox.stripe.shapes import Body
from cookcam.sandbox.stripe.state import StripeState
from cookcam.sandbox.stripe.subscriptions import Subscription

TRIAL_NOTICE: Final = 3 * DAY
INCOMPLETE_FOR: Final = 23 * 3_600


@define(eq=False)
class Billing:
    state: StripeState
    _due: list[tuple[int, int, str, str]] = field(factory=list[tuple[int, int, str, str]])
    _count: int = 0

    # Time

    def resume(self) -> None:
        """Schedule what is due for the stored objects."""
        for subscription in self.state.store.all("subscription"):
            self.watch(subscription)
        for invoice in self.state.store.all("invoice"):
            if invoice["status"] == "draft":
                self._at(
                    invoice["created"] + self.state.behaviour.billing.draft,
                    "finalize",
                    invoice["id"],
                )
            elif invoice["next_payment_attempt"] is not None:
                self._at(invoice["next_payment_attempt"], "retry", invoice["id"])
        for session in self.state.store.all("checkout.session"):
            if session["status"] == "open":
                self._at(session["expires_at"], "expire", session["id"])

    def advance(self, to: int) -> None:
        """Advance the time to `to`; due actions happen at their times on the way."""
        store = self.state.store
        if to < store.now:
            raise invalid("Time only passes forwards", "to")
        try:
            while self._due and self._due[0][0] <= to:
                when, _, what, object_id = heapq.heappop(self._due)
                store.frozen = max(when, store.frozen or 0)
                self._happen(when, what, object_id)
        finally:
            store.frozen = None
        store.save_clock(to - time.time())

    def _at(self, when: int, what: str, object_id: str) -> None:
        self._count += 1
        heapq.heappush(self._due, (when, self._count, what, object_id))

    def watch(self, subscription: Subscription) -> None:
        if subscription.status == "incomplete":
            self._at(subscription.created + INCOMPLETE_FOR, "incomplete", subscription.id)
        elif subscription.renews:
            self._at(subscription.period_end, "period", subscription.id)
            if subscription.cancel_at is not None:
                self._at(subscription.cancel_at, "cancel", subscription.id)
            if subscription.status == "trialing":
                self._at(subscription.period_end - TRIAL_NOTICE, "trial", subscription.id)

    def _happen(self, when: int, what: str, object_id: str) -> None:
        """Execute a due action, unless its object has changed meanwhile."""
        store = self.state.store
        if what in ("finalize", "retry"):
            invoice = store.get("invoice", object_id)
            if what == "finalize" and invoice["status"] == "draft":
                self.finalize(invoice)
            elif what == "retry" and invoice["next_payment_attempt"] == when:
                self.collect(invoice)
            return
        if what == "expire":
            self.expire_session(store.get("checkout.session", object_id))
            return
        subscription = self.state.subscription(object_id)
        if what == "incomplete" and subscription.status == "incomplete":
            self.end(subscription, "incomplete_expired")
        elif what == "trial" and subscription.status == "trialing":
            if subscription.period_end - TRIAL_NOTICE == when:
                self.state.emit_subscription("trial_will_end", subscription)
        elif what == "cancel" and subscription.renews and subscription.cancel_at == when:
            self.end(subscription)
        elif what == "period" and subscription.renews and subscription.period_end == when:
            self._next_period(subscription)

    # Sessions

    def expire_session(self, session: Body) -> None:
        if session["status"] == "open":
            session |= {"status": "expired", "url": None}
            self.state.save(session)
            self.state.emit("checkout.session.expired", session)

    def watch_session(self, session: Body) -> None:
        self._at(session["expires_at"], "expire", session["id"])

    def pay_session(self, session: Body, card: Card, *, later: bool) -> None:
        """The payment on the page of a session; `later` for payment methods that take days.

        Raises ApiFault: 402 when the card is declined, and then the session stays open.
        """
        if session["status"] != "open":
            raise invalid("This Checkout Session is not open.", "session")
        state = self.state
        order = state.store.get("order", session["id"])
        if session["customer"] is None:
            customer = state.create("customer", email=session["customer_email"], metadata={})
            state.emit("customer.created", customer)
            session["customer"] = customer["id"]
            state.save(session)
        state.set_card(session["customer"], card)
        if card != "success" and not order["trial_days"]:
            price = state.store.get("price", order["price"])
            amount, currency = price["unit_amount"], price["currency"]
            state.charge(state.create_intent(amount, currency, session["customer"]), card)
            raise declined(card)
        subscription = self.subscribe(
            session["customer"],
            order["price"],
            dict(order["metadata"]),
            trial_days=order["trial_days"],
            collect=not later,
        )
        paid = "unpaid" if later else "no_payment_required" if order["trial_days"] else "paid"
        session |= {
            "status": "complete",
            "payment_status": paid,
            "subscription": subscription.id,
            "invoice": subscription.latest_invoice,
            "url": None,
        }
        state.save(session)
        state.emit("checkout.session.completed", session)

    def settle_session(self, session: Body, succeeded: bool) -> None:
        """Settle a delayed payment of a session."""
        if session["status"] != "complete" or session["payment_status"] != "unpaid":
            raise invalid("No payment of this Checkout Session is pending.", "session")
        subscription = self.state.subscription(session["subscription"])
        invoice = self.state.store.get("invoice", subscription.latest_invoice or "")
        self.state.set_card(subscription.customer, "success" if succeeded else "decline")
        self.collect(invoice)
        if succeeded:
            session["payment_status"] = "paid"
            self.state.save(session)
        result = "succeeded" if succeeded else "failed"
        self.state.emit(f"checkout.session.async_payment_{result}", session)

    # Subscriptions

    def subscribe(
        self,
        customer: str,
        price_id: str,
        metadata: dict[str, str],
        *,
        trial_days: int = 0,
        collect: bool = True,
    ) -> Subscription:
        """A new subscription: incomplete until its first invoice is paid."""
        state = self.state
        now, price = state.store.now, state.store.get("price", price_id)
        end = now + trial_days * DAY if trial_days else self._period_after(now, price, now)
        subscription = Subscription(
            id=state.store.new_id("subscription"),
            customer=customer,
            item=state.store.new_id("subscription_item"),
            price=price_id,
            status="trialing" if trial_days else "incomplete",
            created=now,
            item_created=now,
            anchor=end if trial_days else now,
            period_start=now,
            period_end=end,
            metadata=metadata,
            trial_start=now if trial_days else None,
            trial_end=end if trial_days else None,
        )
        state.save_subscription(subscription)
        amount = 0 if trial_days else price["unit_amount"]
        invoice = self._invoice(
            subscription, "subscription_create", [self._line(subscription, amount)]
        )
        state.emit_subscription("created", subscription)
        self.watch(subscription)
        self._open(invoice)
        if collect:
            self.collect(invoice)
        return subscription

    def change_price(
        self, subscription: Subscription, price_id: str, proration: str, strict: bool
    ) -> None:
        """Change the price now. With `strict` a declined card leaves the subscription unchanged.

        Raises ApiFault: 402.
        """
        state = self.state
        old = state.store.get("price", subscription.price)
        new = state.store.get("price", price_id)
        if old["unit_amount"] == new["unit_amount"] and old["recurring"] == new["recurring"]:
            subscription.price = price_id
            return
        now, same_rhythm = state.store.now, old["recurring"] == new["recurring"]
        left = (subscription.period_end - now) / (
            subscription.period_end - subscription.period_start
        )
        end = subscription.period_end if same_rhythm else self._period_after(now, new, now)
        credit = -round(old["unit_amount"] * left)
        debit = round(new["unit_amount"] * left) if same_rhythm else new["unit_amount"]
        charged = proration == "always_invoice" and subscription.status != "trialing"
        if charged and strict and credit + debit > 0:
            card = state.card_of(subscription.customer)
            if card != "success":
                raise declined(card)
        start, subscription.price = subscription.period_start, price_id
        if not same_rhythm and subscription.status != "trialing":
            subscription.period_start, subscription.period_end, subscription.anchor = now, end, now
            self.watch(subscription)
        if charged:
            line = self._line_of
            lines = [line(subscription, old, credit, now, end if same_rhythm else now, True)]
            lines.append(line(subscription, new, debit, now, end, same_rhythm))
            invoice = self._invoice(subscription, "subscription_update", lines)
            invoice["period_start"] = start
            self._open(invoice)
            self.collect(invoice)

    def end(self, subscription: Subscription, status: str = "canceled") -> None:
        state, now = self.state, self.state.store.now
        before = state.shown(subscription)
        subscription.status, subscription.ended_at = status, now
        subscription.canceled_at = subscription.canceled_at or now
        subscription.cancel_at_period_end, subscription.cancel_at = False, None
        if subscription.schedule is not None:
            schedule = state.store.get("subscription_schedule", subscription.schedule)
            schedule |= {"status": "canceled", "canceled_at": now, "current_phase": None}
            state.save(schedule)
            subscription.schedule = None
        if subscription.open_invoice is not None:
            invoice = state.store.get("invoice", subscription.open_invoice)
            invoice |= {"next_payment_attempt": None, "auto_advance": False}
            state.save(invoice)
        state.save_subscription(subscription)
        if status == "incomplete_expired":
            state.emit_update(subscription, before)
        else:
            state.emit_subscription("deleted", subscription)

    def _next_period(self, subscription: Subscription) -> None:
        if subscription.cancel_at_period_end or subscription.cancel_at == subscription.period_end:
            self.end(subscription)
            return
        state = self.state
        before = state.shown(subscription)
        self._enter_phase(subscription)
        price = state.store.get("price", subscription.price)
        start = subscription.period_end
        subscription.period_start = start
        subscription.period_end = self._period_after(start, price, subscription.anchor)
        if subscription.status == "trialing":
            subscription.status = "active"
        if subscription.status != "unpaid":
            self._invoice(
                subscription, "subscription_cycle", [self._line(subscription, price["unit_amount"])]
            )
            invoice_id = subscription.latest_invoice or ""
            self._at(start + state.behaviour.billing.draft, "finalize", invoice_id)
        state.emit_update(subscription, before)
        self.watch(subscription)

    def _enter_phase(self, subscription: Subscription) -> None:
        """The next price of a schedule, if any."""
        if subscription.schedule is None:
            return
        schedule = self.state.store.get("subscription_schedule", subscription.schedule)
        phases = [p for p in schedule["phases"] if p["start_date"] == subscription.period_end]
        if not phases:
            if schedule["end_behavior"] == "release":
                self.release(subscription, schedule)
            return
        phase = phases[0]
        subscription.price = phase["items"][0]["price"]
        subscription.metadata = {**subscription.metadata, **phase["metadata"]}
        schedule["current_phase"] = {
            "start_date": phase["start_date"],
            "end_date": phase["end_date"],
        }
        self.state.save(schedule)

    def release(self, subscription: Subscription, schedule: Body) -> None:
        schedule |= {
            "status": "released",
            "released_at": self.state.store.now,
            "released_subscription": subscription.id,
            "subscription": None,
            "current_phase": None,
        }
        self.state.save(schedule)
        subscription.schedule = None
        self.state.save_subscription(subscription)
        self.state.emit("subscription_schedule.released", schedule)

    def _period_after(self, start: int, price: Body, anchor: int) -> int:
        return shapes.after(start, price["recurring"]["interval"], anchor)

    # Invoices

    def _line(self, subscription: Subscription, amount: int) -> Body:
        price = self.state.store.get("price", subscription.price)
        return self._line_of(
            subscription, price, amount, subscription.period_start, subscription.period_end, False
        )

    def _line_of(
        self,
        subscription: Subscription,
        price: Body,
        amount: int,
        start: int,
        end: int,
        proration: bool,
    ) -> Body:
        line_id = self.state.store.new_id("line_item")
        return shapes.invoice_line(line_id, price, amount, start, end, subscription.item, proration)

    def _invoice(self, subscription: Subscription, reason: str, lines: list[Body]) -> Body:
        state = self.state
        currency = state.store.get("price", subscription.price)["currency"]
        invoice_id = state.store.new_id("invoice")
        fields = shapes.invoice(invoice_id, subscription, reason, currency, lines)
        invoice = state.create("invoice", invoice_id, period_end=state.store.now, **fields)
        subscription.latest_invoice = subscription.open_invoice = invoice_id
        state.save_subscription(subscription)
        state.emit("invoice.created", invoice)
        return invoice

    def finalize(self, invoice: Body) -> None:
        """A draft becomes final, and its payment is tried."""
        self._open(invoice)
        self.collect(invoice)

    def _open(self, invoice: Body) -> None:
        invoice["status"] = "open"
        self.state.emit("invoice.finalized", self.state.save(invoice))

    def collect(self, invoice: Body) -> bool:
        """Tries to charge an open invoice."""
        state = self.state
        if invoice["status"] != "open":
            raise invalid("Invoice is already paid", code="invoice_already_paid")
        invoice |= {"attempted": True, "attempt_count": invoice["attempt_count"] + 1}
        if invoice["amount_due"]:
            intent = self._intent(invoice)
            if not state.charge(intent, state.card_of(invoice["customer"])):
                self._not_paid(invoice)
                return False
        self._paid(invoice)
        return True

    def _intent(self, invoice: Body) -> Body:
        """The payment of an invoice: that of earlier attempts, if any."""
        state = self.state
        if payment := self._payment_of(invoice):
            return state.store.get("payment_intent", payment["payment"]["payment_intent"])
        amount, currency, customer = (
            invoice[name] for name in ("amount_due", "currency", "customer")
        )
        intent = state.create_intent(amount, currency, customer)
        state.create(
            "invoice_payment",
            amount_requested=amount,
            currency=currency,
            customer=customer,
            invoice=invoice["id"],
            payment={"type": "payment_intent", "payment_intent": intent["id"]},
        )
        return intent

    def _payment_of(self, invoice: Body) -> Body | None:
        found, _ = self.state.store.collection("invoice_payment").page(
            lambda payment: payment["invoice"] == invoice["id"],
            limit=1,
            customer=invoice["customer"],
        )
        return found[0] if found else None

    def _paid(self, invoice: Body) -> None:
        state = self.state
        if payment := self._payment_of(invoice):
            state.save(payment | {"status": "paid", "amount_paid": invoice["amount_due"]})
        invoice |= {
            "status": "paid",
            "amount_paid": invoice["amount_due"],
            "amount_remaining": 0,
            "next_payment_attempt": None,
        }
        state.save(invoice)
        for kind in ("invoice.paid", "invoice.payment_succeeded"):
            state.emit(kind, invoice)
        subscription = self._subscription_of(invoice)
        before = state.shown(subscription)
        if subscription.open_invoice == invoice["id"]:
            subscription.open_invoice = None
        if subscription.status in ("incomplete", "past_due", "unpaid"):
            if subscription.status == "incomplete":
                self._at(subscription.period_end, "period", subscription.id)
            if subscription.cancel_at is not None:
                self._at(subscription.cancel_at, "cancel", subscription.id)
            subscription.status = "active"
        state.emit_update(subscription, before)

    def _not_paid(self, invoice: Body) -> None:
        state, rules = self.state, self.state.behaviour.billing
        subscription = self._subscription_of(invoice)
        tries: int = invoice["attempt_count"]
        first = invoice["billing_reason"] == "subscription_create"
        again = not first and tries <= len(rules.retries)
        when = state.store.now + rules.retries[tries - 1] if again else None
        invoice["next_payment_attempt"] = when
        state.emit("invoice.payment_failed", state.save(invoice))
        if when is not None:
            self._at(when, "retry", invoice["id"])
        if first:
            return
        if again or rules.after_retries != "canceled":
            before = state.shown(subscription)
            subscription.status = "past_due" if again else rules.after_retries
            state.emit_update(subscription, before)
        elif not subscription.is_over:
            self.end(subscription)

    def _subscription_of(self, invoice: Body) -> Subscription:
        return self.state.subscription(invoice["parent"]["subscription_details"]["subscription"])
