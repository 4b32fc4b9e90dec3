"""How purchases are refused, in the words clients know.

Source: `spec/payments-and-gamification.md` §7.1.
"""

from __future__ import annotations

from attrs import define, field

from cookcam.errors import AppError, Conflict, ServiceUnavailable, ValidationError

RETRY_AFTER = 5


@define(slots=False, eq=False)
class PurchaseRejected(AppError):
    """For good: the same purchase will not be taken later either. `reason` is for the audit."""

    status, code = 400, "PURCHASE_REJECTED"

    reason: str = field(default="rejected", kw_only=True)

    @classmethod
    def because(cls, text: str, reason: str) -> PurchaseRejected:
        return cls(text, error=text, extra={"shouldRetry": False}, reason=reason)


class PurchasePending(AppError):
    """Still to be paid. It is bound to its buyer, and counts as soon as the store tells us."""

    status, code = 400, "PURCHASE_PENDING"

    @classmethod
    def now(cls) -> PurchasePending:
        text = "Purchase is pending"
        return cls(text, error=text, extra={"shouldRetry": True})


class ReceiptOfAnother(Conflict):
    """The first user who showed a purchase has it.

    409, as the app's contract has it (`spec/client-contract.md` §7), with the body of
    `spec/payments-and-gamification.md` §7.2.
    """

    code = "RECEIPT_OF_ANOTHER"

    @classmethod
    def here(cls) -> ReceiptOfAnother:
        text = "Receipt belongs to another account"
        return cls(text, error=text, extra={"shouldRetry": False})


@define(slots=False, eq=False)
class ValidationDeferred(ServiceUnavailable):
    """Nobody can say now: the store, or something of ours, does not answer."""

    retry_after: str = field(default="5", kw_only=True)

    @classmethod
    def after(cls, error: AppError) -> ValidationDeferred:
        advice = dict(error.headers).get("Retry-After", str(RETRY_AFTER))
        text = "Validation failed after retries"
        return cls(text, error=text, extra={"shouldRetry": True}, retry_after=advice)

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [("Retry-After", self.retry_after)]


class InvalidRequest(ValidationError):
    code, default_message = "INVALID_REQUEST", "Platform and productId are required"


class MissingReceipt(ValidationError):
    code, default_message = "MISSING_RECEIPT", "Receipt data is required for iOS"


class MissingToken(ValidationError):
    code, default_message = "MISSING_TOKEN", "Purchase token is required for Android"


class InvalidPlatform(ValidationError):
    code, default_message = "INVALID_PLATFORM", "Platform must be ios or android"
