"""Codes by which creators are referred to."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from attrs import frozen


@frozen
class ReferralLink:
    """A row of `creator_affiliate_links` that a code stands for."""

    id: UUID
    creator_id: UUID
    link_code: str
    custom_slug: str | None


@frozen
class Newcomer:
    """What decides whether a user may still be attributed to somebody."""

    created_at: datetime
    attributed_to: str | None
    has_paid: bool
