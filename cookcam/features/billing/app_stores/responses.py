"""Responses of the purchase routes."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from cookcam.features.billing.app_stores.models import Environment, ValidatedPurchase
from cookcam.features.billing.tiers.models import Platform, Subscription
from cookcam.features.billing.tiers.responses import SubscriptionRow
from cookcam.http.responses import response_from


class AcceptedPurchase(Struct, rename="camel"):
    platform: Platform
    product_id: str
    status: Literal["active"]
    transaction_id: str
    environment: Environment


class ReceiptValidationResponse(Struct):
    success: bool
    message: str
    subscription: AcceptedPurchase

    @classmethod
    def of(cls, accepted: ValidatedPurchase) -> ReceiptValidationResponse:
        purchase = response_from(AcceptedPurchase, accepted, status="active")
        return cls(True, "Subscription activated successfully", purchase)


class PurchaseVerificationResponse(Struct):
    """The older form."""

    success: bool
    subscription: SubscriptionRow
    message: str

    @classmethod
    def of(cls, row: Subscription, message: str) -> PurchaseVerificationResponse:
        return cls(True, SubscriptionRow.of(row), message)


class NotificationResponse(Struct):
    received: bool = True
