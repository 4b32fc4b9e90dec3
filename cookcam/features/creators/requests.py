"""Request bodies of the creator routes. Where clients spell a field in two ways, both are read."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct, field

from cookcam.errors import ValidationError
from cookcam.features.creators.money import cents_of
from cookcam.features.literals import rejected_field
from cookcam.http import DOCUMENTED_AS_REQUIRED
from cookcam.text import clean_prose

Url = Annotated[str, Meta(extra_json_schema={"minLength": 1})]


class AffiliateLinkRequest(Struct):
    campaign_name: str | None = None
    custom_slug: str | None = None
    campaign_name_camel: str | None = field(name="campaignName", default=None)
    custom_slug_camel: str | None = field(name="customSlug", default=None)

    @property
    def campaign(self) -> str | None:
        return self.campaign_name_camel or self.campaign_name

    @property
    def slug(self) -> str | None:
        """The custom slug; None when it is empty."""
        return self.custom_slug_camel or self.custom_slug or None


class ClickRequest(Struct):
    """A visit reported by the website or the app. Timestamps of clients are ignored."""

    source: str | None = None
    user_agent: str | None = None
    referrer: str | None = None


class PayoutRequest(Struct):
    amount: Annotated[float | None, DOCUMENTED_AS_REQUIRED] = None
    method: Annotated[
        Annotated[str, Meta(extra_json_schema={"enum": ["stripe"]})] | None, DOCUMENTED_AS_REQUIRED
    ] = None

    def cents(self) -> int:
        """The amount in cents. Raises ValidationError for missing or invalid fields."""
        if self.amount is None or not self.method:
            raise missing("amount", "method")
        if self.method != "stripe":
            raise rejected_field("Unsupported payout method", "method")
        return _cents(self.amount)


class TipRequest(Struct):
    amount: Annotated[float | None, DOCUMENTED_AS_REQUIRED] = None
    creator_id: UUID | None = field(name="creatorId", default=None)
    message: str | None = None
    is_anonymous: bool = field(name="isAnonymous", default=False)

    def __post_init__(self) -> None:
        if self.message is not None:
            self.message = clean_prose(self.message)

    def cents(self) -> int:
        """The amount in cents. Raises ValidationError."""
        if self.amount is None:
            raise missing("amount", "creatorId")
        return _cents(self.amount)


class OnboardRequest(Struct):
    country: str = "US"


class AccountLinkRequest(Struct):
    account_id: str | None = None
    return_url: Annotated[Url | None, DOCUMENTED_AS_REQUIRED] = None
    refresh_url: Annotated[Url | None, DOCUMENTED_AS_REQUIRED] = None

    def urls(self) -> tuple[str, str]:
        """The return and the refresh URL. Raises ValidationError."""
        if not self.return_url or not self.refresh_url:
            raise missing("return_url", "refresh_url")
        return self.return_url, self.refresh_url


class StripeRefreshRequest(Struct):
    account_id: str | None = None


class MonthQuery(Struct):
    month: str | None = None
    year: str | None = None


def missing(*required: str) -> ValidationError:
    message = "Missing required parameters"
    return ValidationError(message, error=message, extra={"required": list(required)})


def _cents(amount: float) -> int:
    cents = cents_of(amount)
    if cents is None:
        raise rejected_field("Invalid amount", "amount")
    return cents
