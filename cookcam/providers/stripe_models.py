"""What Stripe tells, as frozen classes of ours: nothing of the library leaves the provider.

Money is in cents of `currency` (lower case), times are UTC. Every class reads itself from an
object of the API version below, as answers and events carry it, with `of(object)`; that raises
MalformedObject where the object is not of its documented shape.
Source: the API reference of Stripe, version 2025-05-28.basil; `spec/payments-and-gamification.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, cast

from attrs import evolve, field, frozen

from cookcam.errors import ServiceError

API_VERSION: Final = "2025-05-28.basil"
"""The version that requests ask for; endpoints of webhooks have to be made with the same one."""

Interval: TypeAlias = Literal["month", "year"]
Object: TypeAlias = Mapping[str, Any]
T = TypeVar("T")

_NOTHING: Final[Object] = {}


class MalformedObject(ServiceError):
    """Stripe told something that is not of the documented shape."""


@frozen
class Page(Generic[T]):
    """A page of a list, newest first. `next_after` goes into `starting_after`; None: the last."""

    items: Sequence[T]
    next_after: str | None


@frozen
class Customer:
    id: str
    email: str | None = field(repr=False)
    deleted: bool
    metadata: Mapping[str, str]

    @classmethod
    def of(cls, told: Object) -> Customer:
        return _read(
            lambda: cls(
                _text(told["id"]),
                told.get("email"),
                told.get("deleted") is True,
                _metadata(told),
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
        return _read(lambda: _price(told))


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
        return _read(
            lambda: cls(
                id=_text(told["id"]),
                url=told.get("url"),
                mode=_text(told["mode"]),
                status=told.get("status"),
                payment_status=_text(told["payment_status"]),
                subscription_id=_id(told.get("subscription")),
                customer_id=_id(told.get("customer")),
                client_reference_id=told.get("client_reference_id"),
                metadata=_metadata(told),
                expires_at=_time(told["expires_at"]),
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
        return evolve(_read(lambda: _subscription(told)), as_of=as_of)


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
        return _read(lambda: _invoice(told))


@frozen
class PaymentIntent:
    """`status` is succeeded once the money is there; `client_secret` is for the payer alone."""

    id: str
    status: str
    amount_cents: int
    amount_received_cents: int
    currency: str
    client_secret: str | None = field(repr=False)
    customer_id: str | None
    latest_charge_id: str | None
    metadata: Mapping[str, str]

    @classmethod
    def of(cls, told: Object) -> PaymentIntent:
        return _read(
            lambda: cls(
                id=_text(told["id"]),
                status=_text(told["status"]),
                amount_cents=_integer(told["amount"]),
                amount_received_cents=_integer(told.get("amount_received", 0)),
                currency=_text(told["currency"]),
                client_secret=told.get("client_secret"),
                customer_id=_id(told.get("customer")),
                latest_charge_id=_id(told.get("latest_charge")),
                metadata=_metadata(told),
            )
        )


@frozen
class Charge:
    """`refunded` is true when all of it was; `amount_refunded_cents` is the sum of the refunds."""

    id: str
    status: str
    amount_cents: int
    amount_refunded_cents: int
    refunded: bool
    disputed: bool
    currency: str
    customer_id: str | None
    payment_intent_id: str | None
    metadata: Mapping[str, str]

    @classmethod
    def of(cls, told: Object) -> Charge:
        return _read(
            lambda: cls(
                id=_text(told["id"]),
                status=_text(told["status"]),
                amount_cents=_integer(told["amount"]),
                amount_refunded_cents=_integer(told["amount_refunded"]),
                refunded=bool(told["refunded"]),
                disputed=bool(told.get("disputed", False)),
                currency=_text(told["currency"]),
                customer_id=_id(told.get("customer")),
                payment_intent_id=_id(told.get("payment_intent")),
                metadata=_metadata(told),
            )
        )


@frozen
class Refund:
    """`status` is pending, requires_action, succeeded, failed or canceled."""

    id: str
    status: str | None
    amount_cents: int
    currency: str
    charge_id: str | None
    payment_intent_id: str | None
    created: datetime

    @classmethod
    def of(cls, told: Object) -> Refund:
        return _read(
            lambda: cls(
                id=_text(told["id"]),
                status=told.get("status"),
                amount_cents=_integer(told["amount"]),
                currency=_text(told["currency"]),
                charge_id=_id(told.get("charge")),
                payment_intent_id=_id(told.get("payment_intent")),
                created=_time(told["created"]),
            )
        )


@frozen
class Dispute:
    """`status` is needs_response, under_review, won, lost or another of Stripe's."""

    id: str
    status: str
    reason: str
    amount_cents: int
    currency: str
    charge_id: str
    payment_intent_id: str | None

    @classmethod
    def of(cls, told: Object) -> Dispute:
        return _read(
            lambda: cls(
                id=_text(told["id"]),
                status=_text(told["status"]),
                reason=_text(told["reason"]),
                amount_cents=_integer(told["amount"]),
                currency=_text(told["currency"]),
                charge_id=_text(_id(told["charge"])),
                payment_intent_id=_id(told.get("payment_intent")),
            )
        )


@frozen
class Account:
    """A connected account. `transfers_active`: money can be sent to it.

    `requirements_due` are the names of what its owner still has to tell Stripe.
    """

    id: str
    details_submitted: bool
    charges_enabled: bool
    payouts_enabled: bool
    transfers_active: bool
    requirements_due: Sequence[str]
    disabled_reason: str | None
    country: str | None
    currency: str | None
    metadata: Mapping[str, str]

    @classmethod
    def of(cls, told: Object) -> Account:
        return _read(lambda: _account(told))


@frozen
class AccountLink:
    """A page of Stripe for one visit, until `expires_at`."""

    url: str = field(repr=False)
    expires_at: datetime

    @classmethod
    def of(cls, told: Object) -> AccountLink:
        return _read(lambda: cls(_text(told["url"]), _time(told["expires_at"])))


@frozen
class Transfer:
    """Money sent to a connected account; `reversed` is true when all of it was taken back."""

    id: str
    amount_cents: int
    amount_reversed_cents: int
    reversed: bool
    currency: str
    account_id: str | None
    metadata: Mapping[str, str]
    created: datetime

    @classmethod
    def of(cls, told: Object) -> Transfer:
        return _read(
            lambda: cls(
                id=_text(told["id"]),
                amount_cents=_integer(told["amount"]),
                amount_reversed_cents=_integer(told.get("amount_reversed", 0)),
                reversed=bool(told["reversed"]),
                currency=_text(told["currency"]),
                account_id=_id(told.get("destination")),
                metadata=_metadata(told),
                created=_time(told["created"]),
            )
        )


@frozen
class Payout:
    """Money a connected account got on its bank account; its account is `Event.account`.

    `status` is pending, in_transit, paid, failed or canceled.
    """

    id: str
    status: str
    amount_cents: int
    currency: str
    failure_message: str | None
    created: datetime
    arrival_date: datetime

    @classmethod
    def of(cls, told: Object) -> Payout:
        return _read(
            lambda: cls(
                id=_text(told["id"]),
                status=_text(told["status"]),
                amount_cents=_integer(told["amount"]),
                currency=_text(told["currency"]),
                failure_message=told.get("failure_message"),
                created=_time(told["created"]),
                arrival_date=_time(told["arrival_date"]),
            )
        )


def _price(told: Object) -> Price:
    recurring = _part(told, "recurring")
    interval = recurring.get("interval")
    sold = interval in ("month", "year") and recurring.get("interval_count", 1) == 1
    return Price(
        id=_text(told["id"]),
        product_id=_text(_id(told["product"])),
        amount_cents=_integer(told["unit_amount"]),
        currency=_text(told["currency"]),
        interval=cast("Interval", interval) if sold else None,
    )


def _subscription(told: Object) -> Subscription:
    item = told["items"]["data"][0]
    return Subscription(
        id=_text(told["id"]),
        status=_text(told["status"]),
        customer_id=_text(_id(told["customer"])),
        item_id=_text(item["id"]),
        price=_price(item["price"]),
        current_period_start=_time(item["current_period_start"]),
        current_period_end=_time(item["current_period_end"]),
        cancel_at_period_end=bool(told["cancel_at_period_end"]),
        cancel_at=_time_or_none(told.get("cancel_at")),
        canceled_at=_time_or_none(told.get("canceled_at")),
        ended_at=_time_or_none(told.get("ended_at")),
        trial_end=_time_or_none(told.get("trial_end")),
        schedule_id=_id(told.get("schedule")),
        latest_invoice_id=_id(told.get("latest_invoice")),
        metadata=_metadata(told),
        created=_time(told["created"]),
    )


def _invoice(told: Object) -> Invoice:
    parent = _part(_part(told, "parent"), "subscription_details")
    periods = _periods(told["lines"]["data"])
    period = max(periods, key=lambda period: period["end"], default=_NOTHING)
    paid = _integer(told["amount_paid"])
    taxes = sum(_integer(tax["amount"]) for tax in told.get("total_taxes") or ())
    return Invoice(
        id=_text(told["id"]),
        status=told.get("status"),
        customer_id=_id(told.get("customer")),
        subscription_id=_id(parent.get("subscription")),
        subscription_metadata=_metadata(parent),
        billing_reason=told.get("billing_reason"),
        amount_due_cents=_integer(told["amount_due"]),
        amount_paid_cents=paid,
        net_cents=max(0, paid - taxes),
        currency=_text(told["currency"]),
        period_start=_time_or_none(period.get("start")),
        period_end=_time_or_none(period.get("end")),
        attempt_count=_integer(told.get("attempt_count", 0)),
        next_payment_attempt=_time_or_none(told.get("next_payment_attempt")),
        created=_time(told["created"]),
    )


def _periods(lines: Sequence[Object]) -> list[Object]:
    """Those of the lines that are no prorations; of all, if every line is one."""
    regular = [line["period"] for line in lines if not _is_proration(line)]
    return regular or [line["period"] for line in lines]


def _is_proration(line: Object) -> bool:
    parent = _part(line, "parent")
    of_item = _part(parent, "subscription_item_details")
    of_invoice = _part(parent, "invoice_item_details")
    return bool(of_item.get("proration") or of_invoice.get("proration"))


def _account(told: Object) -> Account:
    requirements = _part(told, "requirements")
    due = {
        _text(name)
        for list_ in ("currently_due", "past_due")
        for name in requirements.get(list_) or ()
    }
    return Account(
        id=_text(told["id"]),
        details_submitted=bool(told.get("details_submitted")),
        charges_enabled=bool(told.get("charges_enabled")),
        payouts_enabled=bool(told.get("payouts_enabled")),
        transfers_active=_part(told, "capabilities").get("transfers") == "active",
        requirements_due=sorted(due),
        disabled_reason=requirements.get("disabled_reason"),
        country=told.get("country"),
        currency=told.get("default_currency"),
        metadata=_metadata(told),
    )


def _read(read: Callable[[], T]) -> T:
    try:
        return read()
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError):
        raise MalformedObject from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError("not a whole number")
    return value


def _id(value: object) -> str | None:
    """The id of a related object, which is told alone or, if asked for, with its object."""
    if isinstance(value, Mapping):
        return _text(cast("Object", value)["id"])
    return None if value is None else _text(value)


def _time(value: object) -> datetime:
    return datetime.fromtimestamp(_integer(value), UTC)


def _time_or_none(value: object) -> datetime | None:
    return None if value is None else _time(value)


def _metadata(told: Object) -> Mapping[str, str]:
    return {str(key): str(value) for key, value in _part(told, "metadata").items()}


def _part(told: Object, name: str) -> Object:
    """An object inside; an empty one where there is none."""
    part: object = told.get(name)
    if part is None:
        return _NOTHING
    if not isinstance(part, Mapping):
        raise TypeError("not an object")
    return cast("Object", part)
