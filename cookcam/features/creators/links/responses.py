"""Response bodies of the affiliate link routes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from cookcam.features.creators.models import Link
from cookcam.http.responses import response_from

FullUrl = Callable[[Link], str]


def full_url(website: str) -> FullUrl:
    """Builds the URL to share from a link's slug, or from its code without one."""

    def url(link: Link) -> str:
        return f"{website}/c/{link.custom_slug}" if link.custom_slug else _by_code(link)

    def _by_code(link: Link) -> str:
        return f"{website}/ref/{link.link_code}"

    return url


class AffiliateLinkRow(Struct, kw_only=True):
    id: UUID
    creator_id: UUID
    link_code: str
    custom_slug: str | None
    campaign_name: str
    is_active: bool
    click_count: int
    conversion_count: int
    created_at: datetime

    @classmethod
    def of(cls, link: Link) -> AffiliateLinkRow:
        return response_from(cls, link, conversion_count=link.conversions_count)


class SharedAffiliateLink(AffiliateLinkRow, kw_only=True, rename={"camel_url": "fullUrl"}):
    """A link with its URL, as `fullUrl` and `full_url`."""

    camel_url: str
    full_url: str

    @classmethod
    def to_share(cls, link: Link, url: str) -> SharedAffiliateLink:
        return response_from(
            cls, link, conversion_count=link.conversions_count, camel_url=url, full_url=url
        )


class AffiliateLinkResponse(Struct, rename={"affiliate_link": "affiliateLink"}):
    success: bool
    affiliate_link: SharedAffiliateLink
    full_url: str


class AffiliateLinkListResponse(Struct):
    success: bool
    links: list[SharedAffiliateLink]


class ClickResponse(Struct):
    success: bool
    message: str
