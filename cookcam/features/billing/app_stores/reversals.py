"""How the app stores take back a charge of an account that is gone.

Google: the purchase is revoked with a full refund. Apple lets only the customer, or its own
support, refund: it is reported. Source: Google's reference of purchases.subscriptionsv2.revoke.
"""

from __future__ import annotations

from attrs import frozen

from cookcam.features.billing.ledger.reversals import ChargeReversal, Outcome, ReversalStore
from cookcam.features.billing.stripe.products import product_of
from cookcam.integrations.google_play import GooglePlay
from cookcam.integrations.google_play.client import UnknownPurchase

OVER = ("EXPIRED", "PENDING_PURCHASE_CANCELED")


@frozen
class GoogleReversals:
    google_play: GooglePlay

    async def reverse(self, reversal: ChargeReversal, store: ReversalStore) -> Outcome:
        token = reversal.provider_subscription_id
        try:
            told = await self.google_play.subscription(
                token, lambda product: product_of("android", product) is not None
            )
        except UnknownPurchase:
            return "unknown"
        if told.state in OVER:
            return "refunded" if reversal.ending else "had_ended"
        await store.ending(reversal)
        await self.google_play.revoke(token)
        return "refunded"


@frozen
class AppleReversals:
    async def reverse(self, reversal: ChargeReversal, store: ReversalStore) -> Outcome:
        return "not_possible"
