"""Subscriptions, invoices and time: what Stripe Billing does by itself.

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
from cookcam.sandbox.stripe.books import Books
from cookcam.sandbox.stripe.faults import declined, invalid
from cookcam.sandbox.stripe.shapes import Body
from cookcam.sandbox.stripe.subscriptions import Subscription

TRIAL_NOTICE: Final = 3 * DAY
INCOMPLETE_FOR: Final = 23 * 3_600


@define(eq=False)
class Billing:
    books: Books
    _due: list[tuple[int, int, str, str]] = field(factory=list[tuple[int, int, str, str]])
    _count: int = 0

    # Time

    def resume(self) -> None:
        """Finds out what is due when, from what is known."""
        for known in self.books.store.all("subscription"):
            self.watch(known)
        for invoice in self.books.store.all("invoice"):
            if invoice["status"] == "draft":
                self._at(
                    invoice["created"] + self.books.behaviour.billing.draft,
                    "finalize",
                    invoice["id"],
                )
            elif invoice["next_payment_attempt"] is not None:
                self._at(invoice["next_payment_attempt"], "retry", invoice["id"])
        for session in self.books.store.all("checkout.session"):
            if session["status"] == "open":
                self._at(session["expires_at"], "expire", session["id"])

    def advance(self, to: int) -> None:
        """Lets time pass until `to`; what falls due on the way happens at its time."""
        store = self.books.store
        if to < store.now:
            raise invalid("Time only passes forwards", "to")
        try:
            while self._due and self._due[0][0] <= to:
                when, _, what, object_id = heapq.heappop(self._due)
                store.frozen = max(when, store.frozen or 0)
                self._happen(when, what, object_id)
        finally:
            store.frozen = None
        store.keep_clock(to - time.time())

    def _at(self, when: int, what: str, object_id: str) -> None:
        self._count += 1
        heapq.heappush(self._due, (when, self._count, what, object_id))

    def watch(self, known: Subscription) -> None:
        if known.status == "incomplete":
            self._at(known.created + INCOMPLETE_FOR, "incomplete", known.id)
        elif known.renews:
            self._at(known.period_end, "period", known.id)
            if known.cancel_at is not None:
                self._at(known.cancel_at, "cancel", known.id)
            if known.status == "trialing":
                self._at(known.period_end - TRIAL_NOTICE, "trial", known.id)

    def _happen(self, when: int, what: str, object_id: str) -> None:
        """Things that have become different since are left alone."""
        store = self.books.store
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
        known = self.books.subscription(object_id)
        if what == "incomplete" and known.status == "incomplete":
            self.end(known, "incomplete_expired")
        elif what == "trial" and known.status == "trialing":
            if known.period_end - TRIAL_NOTICE == when:
                self.books.emit_subscription("trial_will_end", known)
        elif what == "cancel" and known.renews and known.cancel_at == when:
            self.end(known)
        elif what == "period" and known.renews and known.period_end == when:
            self._next_period(known)

    # Sessions

    def expire_session(self, session: Body) -> None:
        if session["status"] == "open":
            session |= {"status": "expired", "url": None}
            self.books.keep(session)
            self.books.emit("checkout.session.expired", session)

    def watch_session(self, session: Body) -> None:
        self._at(session["expires_at"], "expire", session["id"])

    def pay_session(self, session: Body, card: Card, *, later: bool) -> None:
        """What the page does when somebody pays; `later` for ways of paying that take days.

        Raises ApiFault: 402 when the card is declined, and then the session stays open.
        """
        if session["status"] != "open":
            raise invalid("This Checkout Session is not open.", "session")
        books = self.books
        order = books.store.get("order", session["id"])
        if session["customer"] is None:
            customer = shapes.customer(
                books.store.new_id("customer"), books.store.now, session["customer_email"], {}
            )
            books.emit("customer.created", books.keep(customer))
            session["customer"] = customer["id"]
            books.keep(session)
        books.set_card(session["customer"], card)
        if card != "success" and not order["trial_days"]:
            price = books.store.get("price", order["price"])
            books.charge(
                books.new_intent(price["unit_amount"], price["currency"], session["customer"], {}),
                card,
            )
            raise declined(card)
        known = self.subscribe(
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
            "subscription": known.id,
            "invoice": known.latest_invoice,
            "url": None,
        }
        books.keep(session)
        books.emit("checkout.session.completed", session)

    def settle_session(self, session: Body, succeeded: bool) -> None:
        """What the bank says days after a payment of the slow kind."""
        if session["status"] != "complete" or session["payment_status"] != "unpaid":
            raise invalid("No payment of this Checkout Session is pending.", "session")
        known = self.books.subscription(session["subscription"])
        invoice = self.books.store.get("invoice", known.latest_invoice or "")
        self.books.set_card(known.customer, "success" if succeeded else "decline")
        self.collect(invoice)
        if succeeded:
            session["payment_status"] = "paid"
            self.books.keep(session)
        result = "succeeded" if succeeded else "failed"
        self.books.emit(f"checkout.session.async_payment_{result}", session)

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
        books = self.books
        now, price = books.store.now, books.store.get("price", price_id)
        end = now + trial_days * DAY if trial_days else self._period_after(now, price, now)
        known = Subscription(
            id=books.store.new_id("subscription"),
            customer=customer,
            item=books.store.new_id("subscription_item"),
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
        books.keep_subscription(known)
        amount = 0 if trial_days else price["unit_amount"]
        invoice = self._invoice(known, "subscription_create", [self._line(known, amount)])
        books.emit_subscription("created", known)
        self.watch(known)
        self._open(invoice)
        if collect:
            self.collect(invoice)
        return known

    def change_price(
        self, known: Subscription, price_id: str, proration: str, strict: bool
    ) -> None:
        """Another price from now on. With `strict` a declined card leaves everything as it was.

        Raises ApiFault: 402.
        """
        books = self.books
        old = books.store.get("price", known.price)
        new = books.store.get("price", price_id)
        if old["unit_amount"] == new["unit_amount"] and old["recurring"] == new["recurring"]:
            known.price = price_id
            return
        now, same_rhythm = books.store.now, old["recurring"] == new["recurring"]
        left = (known.period_end - now) / (known.period_end - known.period_start)
        end = known.period_end if same_rhythm else self._period_after(now, new, now)
        credit = -round(old["unit_amount"] * left)
        debit = round(new["unit_amount"] * left) if same_rhythm else new["unit_amount"]
        charged = proration == "always_invoice" and known.status != "trialing"
        if charged and strict and credit + debit > 0:
            card = books.card_of(known.customer)
            if card != "success":
                raise declined(card)
        start, known.price = known.period_start, price_id
        if not same_rhythm and known.status != "trialing":
            known.period_start, known.period_end, known.anchor = now, end, now
            self.watch(known)
        if charged:
            line = self._line_of
            lines = [line(known, old, credit, now, end if same_rhythm else now, True)]
            lines.append(line(known, new, debit, now, end, same_rhythm))
            invoice = self._invoice(known, "subscription_update", lines)
            invoice["period_start"] = start
            self._open(invoice)
            self.collect(invoice)

    def end(self, known: Subscription, status: str = "canceled") -> None:
        books, now = self.books, self.books.store.now
        before = books.shown(known)
        known.status, known.ended_at = status, now
        known.canceled_at = known.canceled_at or now
        known.cancel_at_period_end, known.cancel_at = False, None
        if known.schedule is not None:
            schedule = books.store.get("subscription_schedule", known.schedule)
            schedule |= {"status": "canceled", "canceled_at": now, "current_phase": None}
            books.keep(schedule)
            known.schedule = None
        if known.open_invoice is not None:
            invoice = books.store.get("invoice", known.open_invoice)
            invoice |= {"next_payment_attempt": None, "auto_advance": False}
            books.keep(invoice)
        books.keep_subscription(known)
        if status == "incomplete_expired":
            books.emit_changed(known, before)
        else:
            books.emit_subscription("deleted", known)

    def _next_period(self, known: Subscription) -> None:
        if known.cancel_at_period_end or known.cancel_at == known.period_end:
            self.end(known)
            return
        books = self.books
        before = books.shown(known)
        self._enter_phase(known)
        price = books.store.get("price", known.price)
        start = known.period_end
        known.period_start = start
        known.period_end = self._period_after(start, price, known.anchor)
        if known.status == "trialing":
            known.status = "active"
        if known.status != "unpaid":
            self._invoice(known, "subscription_cycle", [self._line(known, price["unit_amount"])])
            invoice_id = known.latest_invoice or ""
            self._at(start + books.behaviour.billing.draft, "finalize", invoice_id)
        books.emit_changed(known, before)
        self.watch(known)

    def _enter_phase(self, known: Subscription) -> None:
        """The next price of a schedule, where there is one."""
        if known.schedule is None:
            return
        schedule = self.books.store.get("subscription_schedule", known.schedule)
        phases = [p for p in schedule["phases"] if p["start_date"] == known.period_end]
        if not phases:
            if schedule["end_behavior"] == "release":
                self.release(known, schedule)
            return
        phase = phases[0]
        known.price = phase["items"][0]["price"]
        known.metadata = {**known.metadata, **phase["metadata"]}
        schedule["current_phase"] = {
            "start_date": phase["start_date"],
            "end_date": phase["end_date"],
        }
        self.books.keep(schedule)

    def release(self, known: Subscription, schedule: Body) -> None:
        schedule |= {
            "status": "released",
            "released_at": self.books.store.now,
            "released_subscription": known.id,
            "subscription": None,
            "current_phase": None,
        }
        self.books.keep(schedule)
        known.schedule = None
        self.books.keep_subscription(known)
        self.books.emit("subscription_schedule.released", schedule)

    def _period_after(self, start: int, price: Body, anchor: int) -> int:
        return shapes.after(start, price["recurring"]["interval"], anchor)

    # Invoices

    def _line(self, known: Subscription, amount: int) -> Body:
        price = self.books.store.get("price", known.price)
        return self._line_of(known, price, amount, known.period_start, known.period_end, False)

    def _line_of(
        self, known: Subscription, price: Body, amount: int, start: int, end: int, proration: bool
    ) -> Body:
        line_id = self.books.store.new_id("line_item")
        return shapes.invoice_line(line_id, price, amount, start, end, known.item, proration)

    def _invoice(self, known: Subscription, reason: str, lines: list[Body]) -> Body:
        books = self.books
        currency = books.store.get("price", known.price)["currency"]
        invoice_id = books.store.new_id("invoice")
        invoice = shapes.invoice(invoice_id, books.store.now, reason, known, currency, lines)
        known.latest_invoice = known.open_invoice = invoice_id
        books.keep_subscription(known)
        books.emit("invoice.created", books.keep(invoice))
        return invoice

    def finalize(self, invoice: Body) -> None:
        """A draft becomes final, and its payment is tried."""
        self._open(invoice)
        self.collect(invoice)

    def _open(self, invoice: Body) -> None:
        invoice["status"] = "open"
        self.books.emit("invoice.finalized", self.books.keep(invoice))

    def collect(self, invoice: Body) -> bool:
        """Tries to take the money of an open invoice."""
        books = self.books
        if invoice["status"] != "open":
            raise invalid("Invoice is already paid", code="invoice_already_paid")
        invoice |= {"attempted": True, "attempt_count": invoice["attempt_count"] + 1}
        if invoice["amount_due"]:
            intent = self._intent(invoice)
            if not books.charge(intent, books.card_of(invoice["customer"])):
                self._not_paid(invoice)
                return False
        self._paid(invoice)
        return True

    def _intent(self, invoice: Body) -> Body:
        """The payment of an invoice: the one of the tries before, where there were any."""
        store = self.books.store
        if known := self._payment_of(invoice):
            return store.get("payment_intent", known["payment"]["payment_intent"])
        amount, currency = invoice["amount_due"], invoice["currency"]
        intent = self.books.new_intent(amount, currency, invoice["customer"], {})
        self.books.keep(
            shapes.new_object(
                "invoice_payment",
                store.new_id("invoice_payment"),
                store.now,
                amount_requested=amount,
                currency=currency,
                customer=invoice["customer"],
                invoice=invoice["id"],
                payment={"type": "payment_intent", "payment_intent": intent["id"]},
            )
        )
        return intent

    def _payment_of(self, invoice: Body) -> Body | None:
        found, _ = self.books.store.shelf("invoice_payment").page(
            lambda known: known["invoice"] == invoice["id"], limit=1, customer=invoice["customer"]
        )
        return found[0] if found else None

    def _paid(self, invoice: Body) -> None:
        books = self.books
        if payment := self._payment_of(invoice):
            books.keep(payment | {"status": "paid", "amount_paid": invoice["amount_due"]})
        invoice |= {
            "status": "paid",
            "amount_paid": invoice["amount_due"],
            "amount_remaining": 0,
            "next_payment_attempt": None,
        }
        books.keep(invoice)
        for kind in ("invoice.paid", "invoice.payment_succeeded"):
            books.emit(kind, invoice)
        known = self._subscription_of(invoice)
        before = books.shown(known)
        if known.open_invoice == invoice["id"]:
            known.open_invoice = None
        if known.status in ("incomplete", "past_due", "unpaid"):
            if known.status == "incomplete":
                self._at(known.period_end, "period", known.id)
            if known.cancel_at is not None:
                self._at(known.cancel_at, "cancel", known.id)
            known.status = "active"
        books.emit_changed(known, before)

    def _not_paid(self, invoice: Body) -> None:
        books, rules = self.books, self.books.behaviour.billing
        known = self._subscription_of(invoice)
        tries: int = invoice["attempt_count"]
        first = invoice["billing_reason"] == "subscription_create"
        again = not first and tries <= len(rules.retries)
        when = books.store.now + rules.retries[tries - 1] if again else None
        invoice["next_payment_attempt"] = when
        books.emit("invoice.payment_failed", books.keep(invoice))
        if when is not None:
            self._at(when, "retry", invoice["id"])
        if first:
            return
        if again or rules.after_retries != "canceled":
            before = books.shown(known)
            known.status = "past_due" if again else rules.after_retries
            books.emit_changed(known, before)
        elif not known.is_over:
            self.end(known)

    def _subscription_of(self, invoice: Body) -> Subscription:
        return self.books.subscription(invoice["parent"]["subscription_details"]["subscription"])
