"""Checkout and customer portal: the pages of Stripe on which users pay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from cookcam.integrations.stripe.billing import CheckoutSession, Interval, product_name
from cookcam.integrations.stripe.errors import NoSuchObject, StripeRejected
from cookcam.integrations.stripe.requests import StripeRequests, new_idempotency_key, parse_url


class Checkout(StripeRequests):
    """Part of `Stripe`."""

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
        """Creates a page (`url`) on which a user subscribes by card.

        `client_reference_id` is the user's id. The session and its subscription have `metadata`
        with `user_id` and `tier_id`. Without `customer_id` Stripe creates a customer, with `email`
        if it is passed.
        """
        all_metadata = {**(metadata or {}), "user_id": str(user_id), "tier_id": str(tier_id)}
        params: Any = {
            "mode": "subscription",
            "payment_method_types": ["card"],
            "client_reference_id": str(user_id),
            "metadata": all_metadata,
            "subscription_data": {"metadata": all_metadata},
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
        response = await self._call("checkout.sessions.create", params, key=idempotency_key)
        return CheckoutSession.of(response.document)

    async def retrieve_checkout_session(self, session_id: str) -> CheckoutSession:
        response = await self._call("checkout.sessions.retrieve", session_id, None)
        return CheckoutSession.of(response.document)

    async def expire_checkout_session(self, session_id: str) -> CheckoutSession:
        """Expires an open session, so that it cannot be paid any more.

        Returns a session that is complete or expired already as it is.
        """
        try:
            response = await self._call(
                "checkout.sessions.expire", session_id, None, key=new_idempotency_key()
            )
        except NoSuchObject:
            raise
        except StripeRejected:
            session = await self.retrieve_checkout_session(session_id)
            if session.status == "open":
                raise
            return session
        return CheckoutSession.of(response.document)

    async def create_portal_session(self, *, customer_id: str, return_url: str) -> str:
        """Creates a page on which a customer manages cards and subscriptions; returns its URL."""
        params: Any = {"customer": customer_id, "return_url": return_url}
        response = await self._call(
            "billing_portal.sessions.create", params, key=new_idempotency_key()
        )
        return parse_url(response)
