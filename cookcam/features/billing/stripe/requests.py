"""Request models of checkout and changes. The app sends snake_case, the website camelCase."""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import Struct, field

from cookcam.errors import BadRequest, ValidationError
from cookcam.features.billing.stripe.checkout import CheckoutOrder
from cookcam.features.billing.stripe.redirects import Redirects
from cookcam.features.billing.tiers.models import RANKS, Interval, tier_slug
from cookcam.http import body_with

TierWord = int | str
"""A tier's id, or its name; `premium` is an old name of `regular`."""

_TIER: dict[str, Any] = {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": r"\S"}]}
_URL: dict[str, Any] = {"type": "string", "minLength": 1}
_APP_TIER = body_with(tier_id=_TIER)
_APP_TIER["properties"]["tierId"] = {"type": "null"}


class CheckoutRequest(Struct, kw_only=True):
    """With `tier_id`, as the app sends it, the addresses are optional."""

    any_of: ClassVar = (
        {
            "allOf": [
                body_with(tierId=_TIER),
                {"anyOf": [body_with(successUrl=_URL), body_with(success_url=_URL)]},
                {"anyOf": [body_with(cancelUrl=_URL), body_with(cancel_url=_URL)]},
            ]
        },
        _APP_TIER,
    )

    tier_id: TierWord | None = field(default=None, name="tierId")
    app_tier_id: TierWord | None = field(default=None, name="tier_id")
    success_url: str | None = field(default=None, name="successUrl")
    app_success_url: str | None = field(default=None, name="success_url")
    cancel_url: str | None = field(default=None, name="cancelUrl")
    app_cancel_url: str | None = field(default=None, name="cancel_url")
    affiliate_code: str | None = field(default=None, name="affiliateCode")
    app_affiliate_code: str | None = field(default=None, name="affiliate_code")
    interval: Interval = "month"

    def order(self, redirects: Redirects) -> CheckoutOrder:
        """Raises BadRequest and ValidationError."""
        tier = self.app_tier_id if self.tier_id is None else self.tier_id
        success = self.success_url or self.app_success_url
        cancel = self.cancel_url or self.app_cancel_url
        if self.tier_id is None and tier is not None:
            success = success or redirects.after_payment
            cancel = cancel or redirects.after_rejection
        if isinstance(tier, str):
            tier = tier.strip() or None
        if tier is None or not success or not cancel:
            raise BadRequest(
                "Required: tierId, successUrl, cancelUrl",
                error="Missing required parameters",
                extra={"required": ["tierId", "successUrl", "cancelUrl"]},
            )
        code = (self.affiliate_code or self.app_affiliate_code or "").strip()
        if len(code) > 100:
            raise ValidationError.of("affiliateCode", "must have at most 100 characters")
        return CheckoutOrder(
            tier_number(tier),
            self.interval,
            redirects.checked(success),
            redirects.checked(cancel),
            code or None,
        )


class ChangeTierRequest(Struct, kw_only=True):
    any_of: ClassVar = (body_with(tierId=_TIER), _APP_TIER)

    tier_id: TierWord | None = field(default=None, name="tierId")
    app_tier_id: TierWord | None = field(default=None, name="tier_id")

    def tier(self) -> int:
        """Raises BadRequest."""
        tier = self.app_tier_id if self.tier_id is None else self.tier_id
        if tier is None or (isinstance(tier, str) and not tier.strip()):
            raise BadRequest("Which tier?", error="Tier ID required")
        return tier_number(tier)


class CancelRequest(Struct):
    """`userId` and reasons, sent by old versions, are ignored: the token identifies the user."""

    immediately: bool = False


class PortalRequest(Struct):
    return_url: str | None = field(default=None, name="returnUrl")
    app_return_url: str | None = field(default=None, name="return_url")

    def address(self, redirects: Redirects) -> str:
        """Raises BadRequest."""
        url = self.return_url or self.app_return_url
        return redirects.checked(url) if url else redirects.after_portal


def tier_number(tier: TierWord) -> int:
    """The id; 0, which no tier has, for an unknown name."""
    if isinstance(tier, int):
        return tier
    slug = tier_slug(tier.strip().lower())
    if slug is not None:
        return RANKS[slug]
    return int(tier) if tier.isascii() and tier.isdigit() and len(tier) < 10 else 0
