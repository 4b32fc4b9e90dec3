"""What a plan does not include, as the app is told (`spec/http-api-core.md` §3.11): 403."""

from __future__ import annotations

from attrs import define

from cookcam.errors import AppError, AuthorizationError, Conflict, InternalError, NotFound
from cookcam.features.billing.tiers.models import Metric, TierSlug, Usage

UPGRADE_URL = "/subscription/upgrade"

_WORDS: dict[Metric, str] = {
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
    """The user's tier allows no more of something in this period."""

    code = "LIMIT_REACHED"

    @classmethod
    def of(cls, usage: Usage) -> LimitReached:
        return cls(
            _WORDS[usage.metric],
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
    """A change names a user who is not, or no longer, there."""

    default_message = "User not found"


class SubscriptionOfAnother(Conflict):
    """The provider's subscription is bound to another user."""

    default_message = "The subscription belongs to another account"


class UnknownTier(InternalError):
    """There is no such tier. The contract of create-checkout names a 500 for it (§4.3)."""

    default_message, of_the_client = "There is no such tier", True


class UnknownToStripe(Conflict):
    """Stripe has no such subscription: it was made in another account of ours."""

    default_message = "Stripe does not know this subscription. Please contact support"

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.error = "Subscription unknown to Stripe"


class NotOffered(AppError):
    """The app knows of it, and we do not sell it."""

    status, code, default_message = 501, "NOT_IMPLEMENTED", "This is not offered yet"
