"""Routes of purchases in the app stores: validation by clients, notifications by the stores."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from cookcam.features.billing.app_stores.events import StoreWebhooks
from cookcam.features.billing.app_stores.models import (
    Environment,
    SubmittedPurchase,
    ValidatedPurchase,
)
from cookcam.features.billing.app_stores.requests import (
    AndroidPurchaseRequest,
    AppleNotificationRequest,
    GoogleNotificationRequest,
    IosPurchaseRequest,
    ReceiptValidationRequest,
)
from cookcam.features.billing.app_stores.service import Purchases
from cookcam.features.billing.tiers.models import Platform, Subscription
from cookcam.features.billing.tiers.responses import SubscriptionRow
from cookcam.http import (
    Routes,
    deadline,
    document_empty,
    document_failures,
    errors_as,
    limit_unverified,
    validate_request,
    validate_response,
    webhook,
)
from cookcam.http.quotas import count_costly
from cookcam.http.responses import RawResponse, response_from
from cookcam.identity import Identity
from cookcam.identity.guards import bearer_token, signed_in


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


SECONDS = 35
"""Above the 25 seconds of a store request, so that its timeout can still be answered."""


def routes(purchases: Purchases, webhooks: StoreWebhooks) -> list[Routes]:
    """Those of `/iap`, which have no older prefix, and those of `/subscription`."""
    iap = Routes("purchases", __name__)
    older = Routes("purchases_of_subscriptions", __name__, legacy=True)
    _validating(iap, "/iap/validate-receipt", purchases)
    _validating(older, "/subscription/validate-purchase", purchases)
    _verifying(older, purchases)
    _notifications(older, webhooks)
    return [iap, older]


def _validating(bp: Routes, path: str, purchases: Purchases) -> None:
    @bp.post(path)
    @errors_as(flagged=True, unexpected="Receipt validation failed")
    @deadline(SECONDS)
    @signed_in
    @document_failures(409)
    @validate_request(ReceiptValidationRequest)
    @validate_response(ReceiptValidationResponse)
    async def validate(
        caller: Identity, data: ReceiptValidationRequest
    ) -> ReceiptValidationResponse:
        """Prove a purchase of the App Store or of Google Play; it counts from the answer on."""
        submitted = data.checked()
        await count_costly("purchases", caller.user_id)
        return ReceiptValidationResponse.of(await purchases.validate(caller.user_id, submitted))


def _verifying(bp: Routes, purchases: Purchases) -> None:
    async def verified(
        caller: Identity, submitted: SubmittedPurchase, message: str
    ) -> PurchaseVerificationResponse:
        await count_costly("purchases", caller.user_id)
        accepted = await purchases.validate(caller.user_id, submitted)
        return PurchaseVerificationResponse.of(await purchases.subscription_of(accepted), message)

    @bp.post("/subscription/verify-ios")
    @errors_as(unexpected="Failed to verify iOS receipt")
    @deadline(SECONDS)
    @signed_in
    @document_failures(409)
    @validate_request(IosPurchaseRequest)
    @validate_response(PurchaseVerificationResponse)
    async def verify_ios(
        caller: Identity, data: IosPurchaseRequest
    ) -> PurchaseVerificationResponse:
        """The older form for the App Store; the product is the one of the receipt."""
        return await verified(caller, data.checked(), "iOS subscription created")

    @bp.post("/subscription/verify-android")
    @errors_as(unexpected="Failed to verify Android purchase")
    @deadline(SECONDS)
    @signed_in
    @document_failures(409)
    @validate_request(AndroidPurchaseRequest)
    @validate_response(PurchaseVerificationResponse)
    async def verify_android(
        caller: Identity, data: AndroidPurchaseRequest
    ) -> PurchaseVerificationResponse:
        """The older form for Google Play."""
        return await verified(caller, data.checked(), "Android subscription created")


def _notifications(bp: Routes, webhooks: StoreWebhooks) -> None:
    @bp.post("/subscription/webhook/apple")
    @webhook
    @errors_as(unexpected="Failed to process the notification")
    @deadline(SECONDS)
    @limit_unverified
    @validate_request(AppleNotificationRequest)
    @validate_response(NotificationResponse)
    async def apple(data: AppleNotificationRequest) -> NotificationResponse:
        """App Store Server Notifications, version 2. 200 once all of it is stored."""
        await webhooks.receive_apple(data.signed_payload)
        return NotificationResponse()

    @bp.post("/subscription/webhook/google")
    @webhook
    @errors_as(unexpected="Failed to process the notification")
    @deadline(SECONDS)
    @limit_unverified
    @document_empty(204)
    @document_failures(401)
    @validate_request(GoogleNotificationRequest)
    async def google(data: GoogleNotificationRequest) -> RawResponse:
        """Real-time developer notifications, pushed by Pub/Sub. 204 once all of it is stored."""
        await webhooks.receive_google(bearer_token(), data.message)
        return RawResponse(204, [], b"")
