"""Single payments: what was charged, given back, and disputed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cookcam.providers.stripe.asking import Asking, given, page
from cookcam.providers.stripe.billing import Invoice
from cookcam.providers.stripe.charges import Charge, Dispute, PaymentIntent, Refund


class Payments(Asking):
    """Part of `Stripe`."""

    async def retrieve_invoice(self, invoice_id: str) -> Invoice:
        answer = await self._ask(
            lambda client, options: client.v1.invoices.retrieve_async(invoice_id, None, options)
        )
        return Invoice.of(answer.told)

    async def invoice_of_payment(self, payment_intent_id: str) -> str | None:
        """The id of the invoice that a payment paid; None for a payment without one, as a tip."""
        params: Any = {
            "payment": {"type": "payment_intent", "payment_intent": payment_intent_id},
            "limit": 1,
        }
        answer = await self._ask(
            lambda client, options: client.v1.invoice_payments.list_async(params, options)
        )
        found = page(answer, lambda told: str(told["invoice"])).items
        return found[0] if found else None

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
        return PaymentIntent.of(answer.told)

    async def retrieve_payment_intent(self, payment_intent_id: str) -> PaymentIntent:
        answer = await self._ask(
            lambda client, options: client.v1.payment_intents.retrieve_async(
                payment_intent_id, None, options
            )
        )
        return PaymentIntent.of(answer.told)

    async def retrieve_charge(self, charge_id: str) -> Charge:
        answer = await self._ask(
            lambda client, options: client.v1.charges.retrieve_async(charge_id, None, options)
        )
        return Charge.of(answer.told)

    async def retrieve_refund(self, refund_id: str) -> Refund:
        answer = await self._ask(
            lambda client, options: client.v1.refunds.retrieve_async(refund_id, None, options)
        )
        return Refund.of(answer.told)

    async def retrieve_dispute(self, dispute_id: str) -> Dispute:
        answer = await self._ask(
            lambda client, options: client.v1.disputes.retrieve_async(dispute_id, None, options)
        )
        return Dispute.of(answer.told)
