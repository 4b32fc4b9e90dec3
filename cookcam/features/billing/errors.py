"""Errors of billing, with the codes and texts that clients know."""

from __future__ import annotations

from attrs import define, field

from cookcam.errors import (
    AppError,
    AuthorizationError,
    Conflict,
    InternalError,
    NotFound,
    ServiceUnavailable,
    ValidationError,
)
from cookcam.features.billing.tiers.models import Metric, TierSlug, Usage

UPGRADE_URL = "/subscription/upgrade"

_LIMIT_MESSAGES: dict[Metric, str] = {
    "daily_scans": "You have reached your scans limit for today",
    "monthly_recipes": "You have reached your recipes limit for this month",
    "saved_recipes": "You have reached your saved recipes limit",
}


@define(slots=False, eq=False)
class UpgradeRequired(AuthorizationError):
    """A higher tier is needed."""

    code = "UPGRADE_REQUIRED"

    @classmethod
    def of(cls, current: TierSlug, required: TierSlug) -> UpgradeRequired:
        return cls(
            f"This feature requires a {required} subscription or higher",
            error="Upgrade required",
            extra={"currentTier": current, "requiredTier": required},
        )


@define(slots=False, eq=False)
class FeatureUnavailable(AuthorizationError):
    """The user's tier does not include the feature."""

    code = "FEATURE_UNAVAILABLE"

    @classmethod
    def of(cls, feature: str) -> FeatureUnavailable:
        return cls(
            "Your subscription plan does not include this feature",
            error="Feature not available",
            extra={"feature": feature, "upgradeUrl": UPGRADE_URL},
        )


@define(slots=False, eq=False)
class LimitReached(AuthorizationError):
    """The user has used up a quota of the tier for this period."""

    code = "LIMIT_REACHED"

    @classmethod
    def of(cls, usage: Usage) -> LimitReached:
        return cls(
            _LIMIT_MESSAGES[usage.metric],
            error="Limit reached",
            extra={"limit": usage.limit, "usage": usage.used, "upgradeUrl": UPGRADE_URL},
        )


@define(slots=False, eq=False)
class CreatorRequired(AuthorizationError):
    """Only creators may do this."""

    code = "CREATOR_REQUIRED"
    default_message = "Upgrade to Creator tier to access this feature"

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.error = "Creator access required"
        self.extra = {"upgradeUrl": f"{UPGRADE_URL}?tier=creator"}


class UnknownSubscriber(NotFound):
    """A change names a user who does not exist, or no longer exists."""

    default_message = "User not found"


class SubscriptionBelongsToAnother(Conflict):
    """The provider's subscription is bound to another user."""

    default_message = "The subscription belongs to another account"


class UnknownTier(InternalError):
    """The tier does not exist. create-checkout responds with 500 (docs/payments.md)."""

    default_message, of_the_client = "There is no such tier", True


class UnknownToStripe(Conflict):
    """Stripe has no such subscription: it was created in another account."""

    default_message = "Stripe does not know this subscription. Please contact support"

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.error = "Subscription unknown to Stripe"


# Purchases in the app stores

RETRY_AFTER = 5


@define(slots=False, eq=False)
class PurchaseRejected(AppError):
    """Permanently rejected. `reason` is for the audit."""

    status, code = 400, "PURCHASE_REJECTED"

    reason: str = field(default="rejected", kw_only=True)

    @classmethod
    def because(cls, text: str, reason: str) -> PurchaseRejected:
        return cls(text, error=text, extra={"shouldRetry": False}, reason=reason)


class PurchasePending(AppError):
    """Not paid yet. The purchase is bound, and entitles once the store reports the payment."""

    status, code = 400, "PURCHASE_PENDING"

    @classmethod
    def now(cls) -> PurchasePending:
        text = "Purchase is pending"
        return cls(text, error=text, extra={"shouldRetry": True})


class ReceiptBelongsToAnother(Conflict):
    """The purchase is bound to the first user who submitted it."""

    code = "RECEIPT_OF_ANOTHER"

    @classmethod
    def here(cls) -> ReceiptBelongsToAnother:
        text = "Receipt belongs to another account"
        return cls(text, error=text, extra={"shouldRetry": False})


@define(slots=False, eq=False)
class ValidationDeferred(ServiceUnavailable):
    """The store or the database does not respond."""

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
