"""Payment providers as the deletion of an account sees them."""

from __future__ import annotations

from attrs import frozen

from cookcam.errors import ServiceUnavailable
from cookcam.integrations.stripe import Stripe
from cookcam.integrations.stripe.errors import NoSuchObject


@frozen
class StripeCancels:
    """`stripe` is None in a deployment without payments."""

    stripe: Stripe | None

    async def cancel(self, subscription_id: str) -> None:
        """`Cancels.cancel`. A subscription that Stripe does not know charges nobody.

        Raises ServiceUnavailable for one that was sold when there were payments: somebody may
        still be charged for it, so its account has to wait until it can be cancelled.
        """
        if self.stripe is None:
            raise ServiceUnavailable
        try:
            await self.stripe.cancel_subscription_now(subscription_id)
        except NoSuchObject:
            return

    async def close_checkout(self, session_id: str) -> None:
        """`Cancels.close_checkout`."""
        if self.stripe is None:
            raise ServiceUnavailable
        try:
            await self.stripe.expire_checkout_session(session_id)
        except NoSuchObject:
            return
