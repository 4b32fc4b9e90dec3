"""Stripe's prices, checkout sessions, subscriptions and invoices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal, Self, TypeAlias, cast

from attrs import field, frozen

from cookcam.integrations.stripe.reading import (
    EMPTY,
    MalformedObject,
    Object,
    StripeObject,
    id_of,
    integer,
    integer_or_zero,
    is_true,
    nested,
    objects,
    parsed,
    part,
    read,
    required_id,
    string_map,
    text,
    text_or_none,
    time,
    time_or_none,
)

Interval: TypeAlias = Literal["month", "year"]

MIN_PERIOD: Final = timedelta(seconds=1)
"""Stripe's times are in whole seconds."""


def _amount(value: object) -> int | None:
    return None if value is None else integer(value)


def _interval(value: object) -> Interval | None:
    recurring = nested(value)
    interval = recurring.get("interval")
    sold = interval in ("month", "year") and recurring.get("interval_count") in (None, 1)
    return cast("Interval", interval) if sold else None


@frozen
class Price(StripeObject):
    """`interval` is None for a one-time price, and for an interval that we do not sell.

    `amount_cents` is None for a price without an amount in whole cents: tiered, metered, or with a
    fraction of a cent.
    """

    id: str = parsed(text)
    product_id: str = parsed(required_id, "product")
    amount_cents: int | None = parsed(_amount, "unit_amount")
    currency: str = parsed(text)
    interval: Interval | None = parsed(_interval, "recurring")


@frozen
class CheckoutSession(StripeObject):
    """`status` is open, complete or expired; `payment_status` paid, unpaid, no_payment_required.

    `url` is None unless the session is open.
    """

    id: str = parsed(text)
    url: str | None = parsed(text_or_none, repr=False)
    mode: str = parsed(text)
    status: str | None = parsed(text_or_none)
    payment_status: str = parsed(text)
    subscription_id: str | None = parsed(id_of, "subscription")
    customer_id: str | None = parsed(id_of, "customer")
    client_reference_id: str | None = parsed(text_or_none)
    metadata: Mapping[str, str] = parsed(string_map)
    expires_at: datetime = parsed(time)


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
class Subscription(StripeObject):
    """A subscription with one item or more: we sell one, the customer portal may add others.

    `status` is Stripe's own: incomplete, incomplete_expired, trialing, active, past_due, canceled,
    unpaid or paused. The period is the item's: since version 2025-03-31 the subscription has none.
    `cancel_at` is when it ends; `cancel_at_period_end` is false when it is cancelled at another
    date than the end of its period. `schedule_id` is set while a change at the end of the period is
    pending. `as_of` is Stripe's time of this state, never later than the moment of the read; it is
    None for a subscription from an event, where `Event.created` takes its place.
    """

    id: str = parsed(text)
    status: str = parsed(text)
    customer_id: str = parsed(required_id, "customer")
    cancel_at_period_end: bool = parsed(is_true)
    cancel_at: datetime | None = parsed(time_or_none)
    canceled_at: datetime | None = parsed(time_or_none)
    ended_at: datetime | None = parsed(time_or_none)
    trial_end: datetime | None = parsed(time_or_none)
    schedule_id: str | None = parsed(id_of, "schedule")
    latest_invoice_id: str | None = parsed(id_of, "latest_invoice")
    metadata: Mapping[str, str] = parsed(string_map)
    created: datetime = parsed(time)
    items: Sequence[SubscriptionItem] = field(kw_only=True)
    as_of: datetime | None = None

    @classmethod
    def of(cls, document: Object, as_of: datetime | None = None) -> Self:
        return read(lambda: cls(**cls.parse_fields(document), items=_items(document), as_of=as_of))

    @property
    def is_over(self) -> bool:
        return self.status in ("canceled", "incomplete_expired")

    def ends_with(self, item: SubscriptionItem) -> bool:
        """Whether it is cancelled for the end of the item's period, or earlier."""
        at = self.cancel_at
        return self.cancel_at_period_end or (at is not None and at <= item.current_period_end)


@frozen
class Invoice(StripeObject):
    """`status` is draft, open, paid, uncollectible or void.

    `period_start` and `period_end` are those of the newest line that is no proration.
    `subscription_metadata` is the subscription's when the invoice was created. `net_cents` is the
    amount paid without taxes, from which commissions are computed.
    `billing_reason` is subscription_create, subscription_cycle, subscription_update or another.
    """

    id: str = parsed(text)
    status: str | None = parsed(text_or_none)
    customer_id: str | None = parsed(id_of, "customer")
    billing_reason: str | None = parsed(text_or_none)
    amount_paid_cents: int = parsed(integer, "amount_paid")
    currency: str = parsed(text)
    attempt_count: int = parsed(integer_or_zero)
    next_payment_attempt: datetime | None = parsed(time_or_none)
    created: datetime = parsed(time)
    subscription_id: str | None = field(kw_only=True)
    subscription_metadata: Mapping[str, str] = field(kw_only=True)
    net_cents: int = field(kw_only=True)
    period_start: datetime | None = field(kw_only=True)
    period_end: datetime | None = field(kw_only=True)

    @classmethod
    def of(cls, document: Object) -> Self:
        """Also parses versions before 2025-03-31, with other fields for subscription and taxes."""
        return read(lambda: cls(**cls.parse_fields(document), **_invoice(document)))


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
        text(item["id"]), Price.of(item["price"]), min(starts, ends - MIN_PERIOD), ends
    )


def _invoice(document: Object) -> dict[str, Any]:
    """The fields of an `Invoice` that are read from several keys of its document."""
    parent = part(part(document, "parent"), "subscription_details")
    details = parent or part(document, "subscription_details")
    periods = _periods(objects(document.get("lines")))
    period = max(periods, key=lambda period: integer(period["end"]), default=EMPTY)
    return {
        "subscription_id": id_of(parent.get("subscription") or document.get("subscription")),
        "subscription_metadata": string_map(details.get("metadata")),
        "net_cents": max(0, integer(document["amount_paid"]) - _taxes(document)),
        "period_start": time_or_none(period.get("start")),
        "period_end": time_or_none(period.get("end")),
    }


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
