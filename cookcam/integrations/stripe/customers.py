"""Customers of Stripe, and the pages on which they pay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from cookcam.integrations.stripe.asking import Asking, new_key, url_in
from cookcam.integrations.stripe.billing import CheckoutSession, Customer, Interval, product_name
from cookcam.integrations.stripe.errors import NoSuchObject, StripeRejected


class Customers(Asking):
    """Part of `Stripe`."""

    async def create_customer(
        self, *, user_id: UUID, email: str | None, idempotency_key: str
    ) -> Customer:
        """A customer with `metadata.user_id`."""
        params: Any = {"metadata": {"user_id": str(user_id)}}
        if email is not None:
            params["email"] = email
        answer = await self._ask(
            lambda client, options: client.v1.customers.create_async(params, options),
            idempotency_key,
        )
        return Customer.of(answer.document)

    async def create_checkout_session(
        self,
        *,
        user_id: UUID,
        tier_id: int,
        tier_name: str,
        amount_cents: int,
        interval: Interval,
        success_url: str,
        cancel_url: str,
        idempotency_key: str,
        currency: str = "usd",
        customer_id: str | None = None,
        email: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> CheckoutSession:
        """A page on which a user subscribes by card; the user goes to its `url`.

        `client_reference_id` is the user, and `metadata` with `user_id` and `tier_id` is on the
        session and on the subscription that comes of it. With `customer_id` the page knows the
        customer; without, it makes one, for `email` if given.
        """
        known = {**(metadata or {}), "user_id": str(user_id), "tier_id": str(tier_id)}
        params: Any = {
            "mode": "subscription",
            "payment_method_types": ["card"],
            "client_reference_id": str(user_id),
            "metadata": known,
            "subscription_data": {"metadata": known},
            "success_url": success_url,
            "cancel_url": cancel_url,
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {
                        "currency": currency,
                        "unit_amount": amount_cents,
                        "recurring": {"interval": interval},
                        "product_data": {
                            "name": product_name(tier_name),
                            "metadata": {"tier_id": str(tier_id)},
                        },
                    },
                }
            ],
        }
        if customer_id is not None:
            params["customer"] = customer_id
        elif email is not None:
            params["customer_email"] = email
        answer = await self._ask(
            lambda client, options: client.v1.checkout.sessions.create_async(params, options),
            idempotency_key,
        )
        return CheckoutSession.of(answer.document)

    async def retrieve_checkout_session(self, session_id: str) -> CheckoutSession:
        answer = await self._ask(
            lambda client, options: client.v1.checkout.sessions.retrieve_async(
                session_id, None, options
            )
        )
        return CheckoutSession.of(answer.document)

    async def expire_checkout_session(self, session_id: str) -> CheckoutSession:
        """Ends an open session, so that it cannot be paid any more; one that has ended already, by
        a payment too, is given as it is.
        """
        try:
            answer = await self._ask(
                lambda client, options: client.v1.checkout.sessions.expire_async(
                    session_id, None, options
                ),
                new_key(),
            )
        except NoSuchObject:
            raise
        except StripeRejected:
            session = await self.retrieve_checkout_session(session_id)
            if session.status == "open":
                raise
            return session
        return CheckoutSession.of(answer.document)

    async def create_portal_session(self, *, customer_id: str, return_url: str) -> str:
        """The address of a page on which a customer manages cards and subscriptions."""
        params: Any = {"customer": customer_id, "return_url": return_url}
        answer = await self._ask(
            lambda client, options: client.v1.billing_portal.sessions.create_async(params, options),
            new_key(),
        )
        return url_in(answer)
