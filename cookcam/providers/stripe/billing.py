"""Customers, what they buy, and what it costs them: as Stripe tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, TypeAlias, cast

from attrs import evolve, field, frozen

from cookcam.providers.stripe.reading import (
    NOTHING,
    Object,
    id_of,
    integer,
    metadata_of,
    part,
    read,
    text,
    time,
    time_or_none,
)

Interval: TypeAlias = Literal["month", "year"]


@frozen
class Customer:
    id: str
    email: str | None = field(repr=False)
    deleted: bool
    metadata: Mapping[str, str]

    @classmethod
    def of(cls, told: Object) -> Customer:
        return read(
            lambda: cls(
                text(told["id"]),
                told.get("email"),
                told.get("deleted") is True,
                metadata_of(told),
            )
        )


@frozen
class Price:
    """`interval` is None for a price that is paid once, or in a rhythm we do not sell."""

    id: str
    product_id: str
    amount_cents: int
    currency: str
    interval: Interval | None

    @classmethod
    def of(cls, told: Object) -> Price:
        return read(lambda: _price(told))


@frozen
class CheckoutSession:
    """`status` is open, complete or expired; `payment_status` paid, unpaid, no_payment_required.

    `url` is there while the session is open.
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
    def of(cls, told: Object) -> CheckoutSession:
        return read(
            lambda: cls(
                id=text(told["id"]),
                url=told.get("url"),
                mode=text(told["mode"]),
                status=told.get("status"),
                payment_status=text(told["payment_status"]),
                subscription_id=id_of(told.get("subscription")),
                customer_id=id_of(told.get("customer")),
                client_reference_id=told.get("client_reference_id"),
                metadata=metadata_of(told),
                expires_at=time(told["expires_at"]),
            )
        )


@frozen
class Subscription:
    """A subscription of one item, the only kind we sell.

    `status` is Stripe's own: incomplete, incomplete_expired, trialing, active, past_due, canceled,
    unpaid or paused. The period is the item's: since version 2025-03-31 the subscription has none.
    `schedule_id` is there while a change at the end of the period is pending. `as_of` is Stripe's
    time of this state, where it was read from the API: never later than the moment of the read;
    of one that came in an event it is None, and `Event.created` takes its place.
    """

    id: str
    status: str
    customer_id: str
    item_id: str
    price: Price
    current_period_start: datetime
    current_period_end: datetime
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
    def of(cls, told: Object, as_of: datetime | None = None) -> Subscription:
        return evolve(read(lambda: _subscription(told)), as_of=as_of)


@frozen
class Invoice:
    """`status` is draft, open, paid, uncollectible or void.

    `period_start` and `period_end` are those of what is paid for: of the newest line that is no
    proration. `subscription_metadata` are the subscription's when the invoice was made.
    `net_cents` is what was paid without taxes: the receipts a commission is computed on.
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
    def of(cls, told: Object) -> Invoice:
        return read(lambda: _invoice(told))


def _price(told: Object) -> Price:
    recurring = part(told, "recurring")
    interval = recurring.get("interval")
    sold = interval in ("month", "year") and recurring.get("interval_count", 1) == 1
    return Price(
        id=text(told["id"]),
        product_id=text(id_of(told["product"])),
        amount_cents=integer(told["unit_amount"]),
        currency=text(told["currency"]),
        interval=cast("Interval", interval) if sold else None,
    )


def _subscription(told: Object) -> Subscription:
    item = told["items"]["data"][0]
    return Subscription(
        id=text(told["id"]),
        status=text(told["status"]),
        customer_id=text(id_of(told["customer"])),
        item_id=text(item["id"]),
        price=_price(item["price"]),
        current_period_start=time(item["current_period_start"]),
        current_period_end=time(item["current_period_end"]),
        cancel_at_period_end=bool(told["cancel_at_period_end"]),
        cancel_at=time_or_none(told.get("cancel_at")),
        canceled_at=time_or_none(told.get("canceled_at")),
        ended_at=time_or_none(told.get("ended_at")),
        trial_end=time_or_none(told.get("trial_end")),
        schedule_id=id_of(told.get("schedule")),
        latest_invoice_id=id_of(told.get("latest_invoice")),
        metadata=metadata_of(told),
        created=time(told["created"]),
    )


def _invoice(told: Object) -> Invoice:
    parent = part(part(told, "parent"), "subscription_details")
    periods = _periods(told["lines"]["data"])
    period = max(periods, key=lambda period: period["end"], default=NOTHING)
    paid = integer(told["amount_paid"])
    taxes = sum(integer(tax["amount"]) for tax in told.get("total_taxes") or ())
    return Invoice(
        id=text(told["id"]),
        status=told.get("status"),
        customer_id=id_of(told.get("customer")),
        subscription_id=id_of(parent.get("subscription")),
        subscription_metadata=metadata_of(parent),
        billing_reason=told.get("billing_reason"),
        amount_due_cents=integer(told["amount_due"]),
        amount_paid_cents=paid,
        net_cents=max(0, paid - taxes),
        currency=text(told["currency"]),
        period_start=time_or_none(period.get("start")),
        period_end=time_or_none(period.get("end")),
        attempt_count=integer(told.get("attempt_count", 0)),
        next_payment_attempt=time_or_none(told.get("next_payment_attempt")),
        created=time(told["created"]),
    )


def _periods(lines: Sequence[Object]) -> list[Object]:
    """Those of the lines that are no prorations; of all, if every line is one."""
    regular = [line["period"] for line in lines if not _is_proration(line)]
    return regular or [line["period"] for line in lines]


def _is_proration(line: Object) -> bool:
    parent = part(line, "parent")
    of_item = part(parent, "subscription_item_details")
    of_invoice = part(parent, "invoice_item_details")
    return bool(of_item.get("proration") or of_invoice.get("proration"))


def product_name(tier_name: str) -> str:
    """What a tier is called on the pages of Stripe."""
    return f"CookCam {tier_name} Subscription"
