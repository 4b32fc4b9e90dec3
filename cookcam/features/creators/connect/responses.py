"""Response bodies of the Stripe account routes."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from cookcam.features.creators.models import AccountStatus, StripeAccount
from cookcam.http.responses import response_from


class OnboardResponse(
    Struct, rename={"account_id": "accountId", "onboarding_url": "onboardingUrl"}
):
    success: bool
    account_id: str
    onboarding_url: str


class StripeAccountStatus(
    Struct,
    kw_only=True,
    rename={
        "details_submitted": "detailsSubmitted",
        "charges_enabled": "chargesEnabled",
        "payouts_enabled": "payoutsEnabled",
    },
):
    status: AccountStatus
    details_submitted: bool
    charges_enabled: bool
    payouts_enabled: bool
    country: str
    currency: str
    stripe_account_id: str


class StripeStatusResponse(
    Struct,
    kw_only=True,
    rename={"has_account": "hasAccount", "needs_onboarding": "needsOnboarding"},
):
    """`account` is omitted without an account."""

    success: bool
    has_account: bool
    account: StripeAccountStatus | UnsetType = UNSET
    needs_onboarding: bool

    @classmethod
    def of(cls, account: StripeAccount | None) -> StripeStatusResponse:
        if account is None:
            return cls(success=True, has_account=False, needs_onboarding=True)
        return cls(
            success=True,
            has_account=True,
            account=response_from(StripeAccountStatus, account, status=account.account_status),
            needs_onboarding=account.account_status == "pending",
        )


class StripeDashboardResponse(Struct, rename={"dashboard_url": "dashboardUrl"}):
    success: bool
    dashboard_url: str


class AccountLinkResponse(Struct):
    """`expires_at` is in milliseconds since 1970."""

    success: bool
    url: str
    expires_at: int


class StripeRefreshResponse(Struct):
    success: bool
    message: str
