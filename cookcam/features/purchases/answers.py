"""What the purchase routes answer (`spec/payments-and-gamification.md` §4.6, §7.1)."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from cookcam.features.purchases.models import Accepted, Environment
from cookcam.features.subscriptions.answers import SubscriptionAnswer
from cookcam.features.subscriptions.models import Subscription
from cookcam.features.subscriptions.products import Platform


class AcceptedPurchase(Struct, rename="camel"):
    platform: Platform
    product_id: str
    status: Literal["active"]
    transaction_id: str
    environment: Environment


class ValidationAnswer(Struct):
    success: bool
    message: str
    subscription: AcceptedPurchase

    @classmethod
    def of(cls, accepted: Accepted) -> ValidationAnswer:
        return cls(
            True,
            "Subscription activated successfully",
            AcceptedPurchase(
                accepted.platform,
                accepted.product_id,
                "active",
                accepted.transaction_id,
                accepted.environment,
            ),
        )


class VerifiedAnswer(Struct):
    """The older form."""

    success: bool
    subscription: SubscriptionAnswer
    message: str

    @classmethod
    def of(cls, row: Subscription, message: str) -> VerifiedAnswer:
        return cls(True, SubscriptionAnswer.of(row), message)


class Received(Struct):
    received: bool = True
