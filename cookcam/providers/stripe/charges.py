"""Single payments, and what goes back of them: as Stripe tells it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from attrs import field, frozen

from cookcam.providers.stripe.reading import (
    Object,
    id_of,
    integer,
    integer_or_zero,
    metadata_of,
    read,
    text,
    text_or_none,
    time,
)


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
        return read(
            lambda: cls(
                id=text(told["id"]),
                status=text(told["status"]),
                amount_cents=integer(told["amount"]),
                amount_received_cents=integer_or_zero(told.get("amount_received")),
                currency=text(told["currency"]),
                client_secret=text_or_none(told.get("client_secret")),
                customer_id=id_of(told.get("customer")),
                latest_charge_id=id_of(told.get("latest_charge")),
                metadata=metadata_of(told),
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
        return read(
            lambda: cls(
                id=text(told["id"]),
                status=text(told["status"]),
                amount_cents=integer(told["amount"]),
                amount_refunded_cents=integer_or_zero(told.get("amount_refunded")),
                refunded=told.get("refunded") is True,
                disputed=told.get("disputed") is True,
                currency=text(told["currency"]),
                customer_id=id_of(told.get("customer")),
                payment_intent_id=id_of(told.get("payment_intent")),
                metadata=metadata_of(told),
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
        return read(
            lambda: cls(
                id=text(told["id"]),
                status=text_or_none(told.get("status")),
                amount_cents=integer(told["amount"]),
                currency=text(told["currency"]),
                charge_id=id_of(told.get("charge")),
                payment_intent_id=id_of(told.get("payment_intent")),
                created=time(told["created"]),
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
        return read(
            lambda: cls(
                id=text(told["id"]),
                status=text(told["status"]),
                reason=text_or_none(told.get("reason")) or "general",
                amount_cents=integer(told["amount"]),
                currency=text(told["currency"]),
                charge_id=text(id_of(told["charge"])),
                payment_intent_id=id_of(told.get("payment_intent")),
            )
        )
