"""Stripe's prices, checkout sessions, subscriptions and invoices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias, cast

from attrs import evolve, field, frozen

from cookcam.integrations.stripe.reading import (
    EMPTY,
    MalformedObject,
    Object,
    id_of,
    integer,
    integer_or_zero,
    metadata_of,
    objects,
    part,
    read,
    text,
    text_or_none,
    time,
    time_or_none,
)

Interval: TypeAlias = Literal["month", "year"]

MIN_PERIOD: Final = timedelta(seconds=1)
"""Stripe's times are in whole seconds."""


@frozen
class Price:
    """`interval` is None for a one-time price, and for an interval that we do not sell.

    `amount_cents` is None for a price without an amount in whole cents: tiered, metered, or with a
    fraction of a cent.
    """

    id: str
    product_id: str
    amount_cents: int | None
    currency: str
    interval: Interval | None

    @classmethod
    def of(cls, document: Object) -> Price:
        return read(lambda: _price(document))


@frozen
class CheckoutSession:
    """`status` is open, complete or expired; `payment_status` paid, unpaid, no_payment_required.

    `url` is None unless the session is open.
    """

    id: str
    url: str | None = field(repr=False)
    mode: str
    status: str | None
    payment_status: str
    subscription_id: str | None
    customer_id: str | None
    client_reference_id: str | None
    metadata: Mapping[str, str]
    expires_at: datetime

    @classmethod
    def of(cls, document: Object) -> CheckoutSession:
        return read(
            lambda: cls(
                id=text(document["id"]),
                url=text_or_none(document.get("url")),
                mode=text(document["mode"]),
                status=text_or_none(document.get("status")),
                payment_status=text(document["payment_status"]),
                subscription_id=id_of(document.get("subscription")),
                customer_id=id_of(document.get("customer")),
                client_reference_id=text_or_none(document.get("client_reference_id")),
                metadata=metadata_of(document),
                expires_at=time(document["expires_at"]),
            )
        )


@frozen
class SubscriptionItem:
    """The period is at least a second long, also where Stripe's ends in the second in which it
    starts: that of a subscription which is cancelled immediately.
    """

    id: str
    price: Price
    current_period_start: datetime
    current_period_end: datetime


@frozen
class Subscription:
    """A subscription with one item or more: we sell one, the customer portal may add others.

    `status` is Stripe's own: incomplete, incomplete_expired, trialing, active, past_due, canceled,
    unpaid or paused. The period is the item's: since version 2025-03-31 the subscription has none.
    `cancel_at` is when it ends; `cancel_at_period_end` is false when it is cancelled at another
    date than the end of its period. `schedule_id` is set while a change at the end of the period is
    pending. `as_of` is Stripe's time of this state, never later than the moment of the read; it is
    None for a subscription from an event, where `Event.created` takes its place.
    """

    id: str
    status: str
    customer_id: str
    items: Sequence[SubscriptionItem]
    cancel_at_period_end: bool
    cancel_at: datetime | None
    canceled_at: datetime | None
    ended_at: datetime | None
    trial_end: datetime | None
    schedule_id: str | None
    latest_invoice_id: str | None
    metadata: Mapping[str, str]
    created: datetime
    as_of: datetime | None = None

    @classmethod
    def of(cls, document: Object, as_of: datetime | None = None) -> Subscription:
        return evolve(read(lambda: _subscription(document)), as_of=as_of)

    @property
    def is_over(self) -> bool:
        return self.status in ("canceled", "incomplete_expired")

    def ends_with(self, item: SubscriptionItem) -> bool:
        """Whether it is cancelled for the end of the item's period, or earlier."""
        at = self.cancel_at
        return self.cancel_at_period_end or (at is not None and at <= item.current_period_end)


@frozen
class Invoice:
    """`status` is draft, open, paid, uncollectible or void.

    `period_start` and `period_end` are those of the newest line that is no proration.
    `subscription_metadata` is the subscription's when the invoice was created. `net_cents` is the
    amount paid without taxes, from which commissions are computed.
    `billing_reason` is subscription_create, subscription_cycle, subscription_update or another.
    """

    id: str
    status: str | None
    customer_id: str | None
    subscription_id: str | None
    subscription_metadata: Mapping[str, str]
    billing_reason: str | None
    amount_due_cents: int
    amount_paid_cents: int
    net_cents: int
    currency: str
    period_start: datetime | None
    period_end: datetime | None
    attempt_count: int
    next_payment_attempt: datetime | None
    created: datetime

    @classmethod
    def of(cls, document: Object) -> Invoice:
        return read(lambda: _invoice(document))


def _price(document: Object) -> Price:
    recurring, amount = part(document, "recurring"), document.get("unit_amount")
    interval = recurring.get("interval")
    sold = interval in ("month", "year") and recurring.get("interval_count") in (None, 1)
    return Price(
        id=text(document["id"]),
        product_id=text(id_of(document["product"])),
        amount_cents=None if amount is None else integer(amount),
        currency=text(document["currency"]),
        interval=cast("Interval", interval) if sold else None,
    )


def _subscription(document: Object) -> Subscription:
    items = _items(document)
    return Subscription(
        id=text(document["id"]),
        status=text(document["status"]),
        customer_id=text(id_of(document["customer"])),
        items=items,
        cancel_at_period_end=document.get("cancel_at_period_end") is True,
        cancel_at=time_or_none(document.get("cancel_at")),
        canceled_at=time_or_none(document.get("canceled_at")),
        ended_at=time_or_none(document.get("ended_at")),
        trial_end=time_or_none(document.get("trial_end")),
        schedule_id=id_of(document.get("schedule")),
        latest_invoice_id=id_of(document.get("latest_invoice")),
        metadata=metadata_of(document),
        created=time(document["created"]),
    )


def _items(subscription: Object) -> list[SubscriptionItem]:
    """The items that can be parsed: a malformed add-on does not hide our own item."""
    items: list[SubscriptionItem] = []
    for document in objects(subscription["items"]):
        try:
            items.append(read(lambda document=document: _item(document, subscription)))
        except MalformedObject:
            continue
    if not items:
        raise ValueError("a subscription without an item")
    return items


def _item(item: Object, subscription: Object) -> SubscriptionItem:
    """Before version 2025-03-31 the period of all items is the subscription's."""
    starts, ends = (
        time(subscription[name] if item.get(name) is None else item[name])
        for name in ("current_period_start", "current_period_end")
    )
    return SubscriptionItem(
        text(item["id"]), _price(item["price"]), min(starts, ends - MIN_PERIOD), ends
    )


def _invoice(document: Object) -> Invoice:
    """Also parses versions before 2025-03-31, with other fields for subscription and taxes."""
    parent = part(part(document, "parent"), "subscription_details")
    details = parent or part(document, "subscription_details")
    periods = _periods(objects(document.get("lines")))
    period = max(periods, key=lambda period: integer(period["end"]), default=EMPTY)
    paid = integer(document["amount_paid"])
    return Invoice(
        id=text(document["id"]),
        status=text_or_none(document.get("status")),
        customer_id=id_of(document.get("customer")),
        subscription_id=id_of(parent.get("subscription") or document.get("subscription")),
        subscription_metadata=metadata_of(details),
        billing_reason=text_or_none(document.get("billing_reason")),
        amount_due_cents=integer(document["amount_due"]),
        amount_paid_cents=paid,
        net_cents=max(0, paid - _taxes(document)),
        currency=text(document["currency"]),
        period_start=time_or_none(period.get("start")),
        period_end=time_or_none(period.get("end")),
        attempt_count=integer_or_zero(document.get("attempt_count")),
        next_payment_attempt=time_or_none(document.get("next_payment_attempt")),
        created=time(document["created"]),
    )


def _taxes(invoice: Object) -> int:
    for name in ("total_taxes", "total_tax_amounts"):
        if invoice.get(name) is not None:
            return sum(integer(tax["amount"]) for tax in objects(invoice[name]))
    return integer_or_zero(invoice.get("tax"))


def _periods(lines: Sequence[Object]) -> list[Object]:
    """The periods of the lines that are no prorations; of all lines if every line is one."""
    regular = [line["period"] for line in lines if not _is_proration(line)]
    return regular or [line["period"] for line in lines]


def _is_proration(line: Object) -> bool:
    parent = part(line, "parent")
    of_item = part(parent, "subscription_item_details")
    of_invoice = part(parent, "invoice_item_details")
    return any(source.get("proration") is True for source in (of_item, of_invoice, line))


def product_name(tier_name: str) -> str:
    """The name of a tier on Stripe's pages."""
    return f"CookCam {tier_name} Subscription"
