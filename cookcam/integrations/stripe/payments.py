"""Single payments: what was charged, given back, and disputed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cookcam.integrations.stripe.asking import PAGE, Asking, all_of, given
from cookcam.integrations.stripe.billing import Invoice
from cookcam.integrations.stripe.charges import Charge, Dispute, PaymentIntent, Refund
from cookcam.integrations.stripe.errors import StripeRejected
from cookcam.integrations.stripe.reading import id_of, part, read, text


class Payments(Asking):
    """Part of `Stripe`."""

    async def retrieve_invoice(self, invoice_id: str) -> Invoice:
        answer = await self._ask(
            lambda client, options: client.v1.invoices.retrieve_async(invoice_id, None, options)
        )
        return Invoice.of(answer.document)

    async def invoice_of_payment(self, payment_intent_id: str) -> str | None:
        """The id of the invoice that a payment paid; None for a payment without one, as a tip."""
        params: Any = {
            "payment": {"type": "payment_intent", "payment_intent": payment_intent_id},
            "limit": 1,
        }
        answer = await self._ask(
            lambda client, options: client.v1.invoice_payments.list_async(params, options)
        )
        found = all_of(answer, lambda document: read(lambda: text(id_of(document["invoice"]))))
        return found[0] if found else None

    async def payments_of_invoice(self, invoice_id: str) -> Sequence[str]:
        """The ids of the payment intents that paid an invoice; none while it is not paid."""
        params: Any = {"invoice": invoice_id, "status": "paid", "limit": PAGE}
        answer = await self._ask(
            lambda client, options: client.v1.invoice_payments.list_async(params, options)
        )
        paid = all_of(
            answer,
            lambda document: read(lambda: id_of(part(document, "payment").get("payment_intent"))),
        )
        return [payment for payment in paid if payment is not None]

    async def refund_payment(
        self, payment_intent_id: str, *, idempotency_key: str
    ) -> Refund | None:
        """Gives all of a payment back, or what is left of it; None when nothing is left."""
        params: Any = {"payment_intent": payment_intent_id}
        try:
            answer = await self._ask(
                lambda client, options: client.v1.refunds.create_async(params, options),
                idempotency_key,
            )
        except StripeRejected as refusal:
            if refusal.stripe_code != "charge_already_refunded":
                raise
            return None
        return Refund.of(answer.document)

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
        """A payment that the app completes with the `client_secret`. Raises CardDeclined."""
        params = given(
            amount=amount_cents,
            currency=currency,
            metadata=dict(metadata),
            customer=customer_id,
            transfer_group=transfer_group,
            automatic_payment_methods={"enabled": True},
        )
        answer = await self._ask(
            lambda client, options: client.v1.payment_intents.create_async(params, options),
            idempotency_key,
        )
        return PaymentIntent.of(answer.document)

    async def retrieve_payment_intent(self, payment_intent_id: str) -> PaymentIntent:
        answer = await self._ask(
            lambda client, options: client.v1.payment_intents.retrieve_async(
                payment_intent_id, None, options
            )
        )
        return PaymentIntent.of(answer.document)

    async def retrieve_charge(self, charge_id: str) -> Charge:
        answer = await self._ask(
            lambda client, options: client.v1.charges.retrieve_async(charge_id, None, options)
        )
        return Charge.of(answer.document)

    async def retrieve_refund(self, refund_id: str) -> Refund:
        answer = await self._ask(
            lambda client, options: client.v1.refunds.retrieve_async(refund_id, None, options)
        )
        return Refund.of(answer.document)

    async def retrieve_dispute(self, dispute_id: str) -> Dispute:
        answer = await self._ask(
            lambda client, options: client.v1.disputes.retrieve_async(dispute_id, None, options)
        )
        return Dispute.of(answer.document)
