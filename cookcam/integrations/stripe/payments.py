"""Payments: invoices, payment intents, charges, refunds and disputes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cookcam.integrations.stripe.billing import Invoice
from cookcam.integrations.stripe.charges import Charge, Dispute, PaymentIntent, Refund
from cookcam.integrations.stripe.errors import StripeRejected
from cookcam.integrations.stripe.reading import id_of, part, read, text
from cookcam.integrations.stripe.requests import (
    MAX_PAGE,
    StripeRequests,
    parse_complete_list,
    without_none,
)


class Payments(StripeRequests):
    """Part of `Stripe`."""

    async def retrieve_invoice(self, invoice_id: str) -> Invoice:
        response = await self._call("invoices.retrieve", invoice_id, None)
        return Invoice.of(response.document)

    async def paid_invoices(self, subscription_id: str, *, since: datetime) -> Sequence[str]:
        """The ids of a subscription's latest 100 invoices that were created since then and paid."""
        params: Any = {
            "subscription": subscription_id,
            "status": "paid",
            "created": {"gte": int(since.timestamp())},
            "limit": MAX_PAGE,
        }
        response = await self._call("invoices.list", params)
        return parse_complete_list(response, lambda document: read(lambda: text(document["id"])))

    async def invoice_of_payment(self, payment_intent_id: str) -> str | None:
        """The id of the invoice of a payment; None for a payment without one, such as a tip."""
        params: Any = {
            "payment": {"type": "payment_intent", "payment_intent": payment_intent_id},
            "limit": 1,
        }
        response = await self._call("invoice_payments.list", params)
        invoices = parse_complete_list(
            response, lambda document: read(lambda: text(id_of(document["invoice"])))
        )
        return invoices[0] if invoices else None

    async def payments_of_invoice(self, invoice_id: str) -> Sequence[str]:
        """The ids of an invoice's payment intents; empty while it is not paid."""
        params: Any = {"invoice": invoice_id, "status": "paid", "limit": MAX_PAGE}
        response = await self._call("invoice_payments.list", params)
        paid = parse_complete_list(
            response,
            lambda document: read(lambda: id_of(part(document, "payment").get("payment_intent"))),
        )
        return [payment for payment in paid if payment is not None]

    async def refund_payment(
        self, payment_intent_id: str, *, idempotency_key: str
    ) -> Refund | None:
        """Refunds the rest of a payment; None when all of it was refunded before."""
        params: Any = {"payment_intent": payment_intent_id}
        try:
            response = await self._call("refunds.create", params, key=idempotency_key)
        except StripeRejected as rejection:
            if rejection.stripe_code != "charge_already_refunded":
                raise
            return None
        return Refund.of(response.document)

    async def create_payment_intent(
        self,
        *,
        amount_cents: int,
        metadata: Mapping[str, str],
        idempotency_key: str,
        currency: str = "usd",
        customer_id: str | None = None,
        transfer_group: str | None = None,
    ) -> PaymentIntent:
        """Creates a payment, which the app completes with `client_secret`. Raises CardDeclined."""
        params = without_none(
            amount=amount_cents,
            currency=currency,
            metadata=dict(metadata),
            customer=customer_id,
            transfer_group=transfer_group,
            automatic_payment_methods={"enabled": True},
        )
        response = await self._call("payment_intents.create", params, key=idempotency_key)
        return PaymentIntent.of(response.document)

    async def retrieve_charge(self, charge_id: str) -> Charge:
        response = await self._call("charges.retrieve", charge_id, None)
        return Charge.of(response.document)

    async def retrieve_dispute(self, dispute_id: str) -> Dispute:
        response = await self._call("disputes.retrieve", dispute_id, None)
        return Dispute.of(response.document)
