"""Requests of the purchase routes. The app sends purchases in more than one form."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct

from cookcam.errors import ValidationError
from cookcam.features.billing.app_stores.models import SubmittedPurchase
from cookcam.features.billing.errors import (
    InvalidPlatform,
    InvalidRequest,
    MissingReceipt,
    MissingToken,
)
from cookcam.http import DOCUMENTED_AS_REQUIRED, body_with

MAX_ID_LENGTH = 200
MAX_TOKEN_LENGTH = 4096
TEXT = Meta(extra_json_schema={"type": "string"})
_ASCII: dict[str, Any] = {"type": "string", "pattern": r"^[\u0001-\u007f]+$"}
_PRODUCT: dict[str, Any] = {**_ASCII, "maxLength": MAX_ID_LENGTH}
_TOKEN: dict[str, Any] = {**_ASCII, "maxLength": MAX_TOKEN_LENGTH}


class ReceiptValidationRequest(Struct, rename="camel"):
    """A purchase to be proven. `productId` is compared with what the store says."""

    any_of: ClassVar = (
        body_with(platform={"const": "ios"}, productId=_PRODUCT, receipt=_ASCII),
        body_with(platform={"const": "android"}, productId=_PRODUCT, purchaseToken=_TOKEN),
    )

    platform: Annotated[Any, Meta(extra_json_schema={"enum": ["ios", "android"]})] = None
    product_id: Annotated[Any, TEXT] = None
    receipt: Annotated[
        Any,
        Meta(
            description="iOS: the receipt as base64, or a signed StoreKit 2 transaction.",
            extra_json_schema={"type": "string"},
        ),
    ] = None
    purchase_token: Annotated[Any, TEXT] = None

    def checked(self) -> SubmittedPurchase:
        """Raises ValidationError with the code of what is missing."""
        product_id = _text(self.product_id, MAX_ID_LENGTH)
        if not self.platform or product_id is None:
            raise InvalidRequest()
        if self.platform == "ios":
            receipt = _text(self.receipt)
            if receipt is None:
                raise MissingReceipt()
            return SubmittedPurchase("ios", product_id, receipt)
        if self.platform == "android":
            token = _text(self.purchase_token, MAX_TOKEN_LENGTH)
            if token is None:
                raise MissingToken()
            return SubmittedPurchase("android", product_id, token)
        raise InvalidPlatform()


class IosPurchaseRequest(Struct):
    receipt: Annotated[Any, Meta(extra_json_schema=_ASCII), DOCUMENTED_AS_REQUIRED] = None

    def checked(self) -> SubmittedPurchase:
        receipt = _text(self.receipt)
        if receipt is None:
            raise ValidationError("receipt is required", error="Receipt data required")
        return SubmittedPurchase("ios", None, receipt)


class AndroidPurchaseRequest(Struct, rename="camel"):
    purchase_token: Annotated[Any, Meta(extra_json_schema=_TOKEN), DOCUMENTED_AS_REQUIRED] = None
    product_id: Annotated[Any, TEXT] = None

    def checked(self) -> SubmittedPurchase:
        token = _text(self.purchase_token, MAX_TOKEN_LENGTH)
        if token is None:
            raise ValidationError("purchaseToken is required", error="Purchase token required")
        return SubmittedPurchase("android", _text(self.product_id, MAX_ID_LENGTH), token)


class AppleNotificationRequest(Struct, rename="camel"):
    signed_payload: str


class GoogleNotificationRequest(Struct):
    """What Pub/Sub pushes."""

    message: Annotated[
        dict[str, Any],
        Meta(
            description="`data` is a DeveloperNotification as base64 of its JSON.",
            extra_json_schema={
                "properties": {
                    "data": {"type": "string", "contentEncoding": "base64"},
                    "messageId": {"type": "string", "minLength": 1},
                    "message_id": {"type": "string", "minLength": 1},
                    "publishTime": {"type": "string"},
                    "attributes": {
                        "type": "object",
                        "additionalProperties": {"type": "string"},
                    },
                },
                "anyOf": [{"required": ["messageId"]}, {"required": ["message_id"]}],
            },
        ),
    ]
    subscription: str = ""


def _text(value: object, max_length: int | None = None) -> str | None:
    """The text itself: credentials are taken as they are. None for anything else."""
    if not isinstance(value, str) or not value or not value.isascii():
        return None
    return value if max_length is None or len(value) <= max_length else None
