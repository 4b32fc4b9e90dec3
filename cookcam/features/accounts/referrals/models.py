"""Referral codes and attributions."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from attrs import frozen


@frozen
class ReferralLink:
    """A row of `creator_affiliate_links`."""

    id: UUID
    creator_id: UUID
    link_code: str
    custom_slug: str | None


@frozen
class ReferralStatus:
    """The data that decides whether a user can still be attributed to a creator.

    `attributed_to` is the link code of an existing attribution.
    """

    created_at: datetime
    attributed_to: str | None
    has_paid: bool
