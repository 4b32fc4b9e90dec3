"""Stripe's payment intents, charges, refunds and disputes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from attrs import frozen

from cookcam.integrations.stripe.reading import (
    StripeObject,
    id_of,
    integer,
    integer_or_zero,
    is_true,
    parsed,
    required_id,
    string_map,
    text,
    text_or_none,
    time,
)


@frozen
class PaymentIntent(StripeObject):
    """`status` is succeeded when it is paid; `client_secret` is only for the payer."""

    id: str = parsed(text)
    status: str = parsed(text)
    amount_cents: int = parsed(integer, "amount")
    amount_received_cents: int = parsed(integer_or_zero, "amount_received")
    currency: str = parsed(text)
    client_secret: str | None = parsed(text_or_none, repr=False)
    customer_id: str | None = parsed(id_of, "customer")
    latest_charge_id: str | None = parsed(id_of, "latest_charge")
    metadata: Mapping[str, str] = parsed(string_map)


@frozen
class Charge(StripeObject):
    """`refunded` is true when it is fully refunded."""

    id: str = parsed(text)
    status: str = parsed(text)
    amount_cents: int = parsed(integer, "amount")
    amount_refunded_cents: int = parsed(integer_or_zero, "amount_refunded")
    refunded: bool = parsed(is_true)
    currency: str = parsed(text)
    customer_id: str | None = parsed(id_of, "customer")
    payment_intent_id: str | None = parsed(id_of, "payment_intent")
    metadata: Mapping[str, str] = parsed(string_map)


@frozen
class Refund(StripeObject):
    """`status` is pending, requires_action, succeeded, failed or canceled."""

    id: str = parsed(text)
    status: str | None = parsed(text_or_none)
    amount_cents: int = parsed(integer, "amount")
    currency: str = parsed(text)
    charge_id: str | None = parsed(id_of, "charge")
    payment_intent_id: str | None = parsed(id_of, "payment_intent")
    created: datetime = parsed(time)


def _reason(value: object) -> str:
    return text_or_none(value) or "general"


@frozen
class Dispute(StripeObject):
    """`status` is needs_response, under_review, won, lost or another of Stripe's."""

    id: str = parsed(text)
    status: str = parsed(text)
    reason: str = parsed(_reason)
    amount_cents: int = parsed(integer, "amount")
    currency: str = parsed(text)
    charge_id: str = parsed(required_id, "charge")
    payment_intent_id: str | None = parsed(id_of, "payment_intent")
