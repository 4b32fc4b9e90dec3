"""Cancellation of subscriptions at Stripe for the deletion of an account."""

from __future__ import annotations

from attrs import frozen

from cookcam.errors import ServiceUnavailable
from cookcam.integrations.stripe import Stripe
from cookcam.integrations.stripe.errors import NoSuchObject


@frozen
class StripeCanceller:
    """`stripe` is None in a deployment without payments."""

    stripe: Stripe | None

    async def cancel(self, subscription_id: str) -> None:
        """Cancel the subscription; one unknown to Stripe is no error.

        Raises ServiceUnavailable without Stripe: the subscription was sold while payments were
        configured and may still be charged, so the deletion waits until it can be cancelled.
        """
        if self.stripe is None:
            raise ServiceUnavailable
        try:
            await self.stripe.cancel_subscription_now(subscription_id)
        except NoSuchObject:
            return

    async def close_checkout(self, session_id: str) -> None:
        """`SubscriptionCanceller.close_checkout`."""
        if self.stripe is None:
            raise ServiceUnavailable
        try:
            await self.stripe.expire_checkout_session(session_id)
        except NoSuchObject:
            return
