"""Stripe's payment intents, charges, refunds and disputes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from attrs import field, frozen

from cookcam.integrations.stripe.reading import (
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
    """`status` is succeeded when it is paid; `client_secret` is only for the payer."""

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
    def of(cls, document: Object) -> PaymentIntent:
        return read(
            lambda: cls(
                id=text(document["id"]),
                status=text(document["status"]),
                amount_cents=integer(document["amount"]),
                amount_received_cents=integer_or_zero(document.get("amount_received")),
                currency=text(document["currency"]),
                client_secret=text_or_none(document.get("client_secret")),
                customer_id=id_of(document.get("customer")),
                latest_charge_id=id_of(document.get("latest_charge")),
                metadata=metadata_of(document),
            )
        )


@frozen
class Charge:
    """`refunded` is true when it is fully refunded."""

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
    def of(cls, document: Object) -> Charge:
        return read(
            lambda: cls(
                id=text(document["id"]),
                status=text(document["status"]),
                amount_cents=integer(document["amount"]),
                amount_refunded_cents=integer_or_zero(document.get("amount_refunded")),
                refunded=document.get("refunded") is True,
                disputed=document.get("disputed") is True,
                currency=text(document["currency"]),
                customer_id=id_of(document.get("customer")),
                payment_intent_id=id_of(document.get("payment_intent")),
                metadata=metadata_of(document),
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
    def of(cls, document: Object) -> Refund:
        return read(
            lambda: cls(
                id=text(document["id"]),
                status=text_or_none(document.get("status")),
                amount_cents=integer(document["amount"]),
                currency=text(document["currency"]),
                charge_id=id_of(document.get("charge")),
                payment_intent_id=id_of(document.get("payment_intent")),
                created=time(document["created"]),
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
    def of(cls, document: Object) -> Dispute:
        return read(
            lambda: cls(
                id=text(document["id"]),
                status=text(document["status"]),
                reason=text_or_none(document.get("reason")) or "general",
                amount_cents=integer(document["amount"]),
                currency=text(document["currency"]),
                charge_id=text(id_of(document["charge"])),
                payment_intent_id=id_of(document.get("payment_intent")),
            )
        )
