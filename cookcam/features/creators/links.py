"""Affiliate links: making them, and counting who follows them.

Source: `spec/payments-and-gamification.md` §6.2.
"""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from attrs import field, frozen

from cookcam.errors import Conflict, DatabaseError, DuplicateEntry
from cookcam.features.creators.link_store import LinkStore
from cookcam.features.creators.models import Link, Visit
from cookcam.features.creators.visitors import Visitors
from cookcam.features.literals import refused
from cookcam.features.referrals.service import Referrals
from cookcam.text import clean_line

ALPHABET: Final = string.ascii_uppercase + string.digits
CODE_LENGTH: Final = 8
ATTEMPTS: Final = 10
DEFAULT_CAMPAIGN: Final = "Default Campaign"
LONGEST_CAMPAIGN: Final = 100
LONGEST_TEXT: Final = 500
MOST_LINKS: Final = 500

_SLUG = re.compile(r"[a-z0-9-]{3,40}")


def new_code() -> str:
    return "CC_" + "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH))


@frozen
class Links:
    store: LinkStore
    referrals: Referrals
    visitors: Visitors
    now: Callable[[], datetime] = field(repr=False)
    code: Callable[[], str] = new_code

    async def make(self, creator_id: UUID, campaign: str | None, slug: str | None) -> Link:
        """A new link. Raises ValidationError for a slug or a campaign that cannot be; Conflict for
        a slug that is taken.
        """
        campaign = clean_line(campaign or "") or DEFAULT_CAMPAIGN
        if len(campaign) > LONGEST_CAMPAIGN:
            raise refused("Campaign name is too long", "campaignName")
        if slug is not None and not _SLUG.fullmatch(slug):
            raise refused("Invalid custom slug", "customSlug")
        for _ in range(ATTEMPTS):
            try:
                link = await self.store.add(creator_id, self.code(), slug, campaign)
            except DuplicateEntry:
                words = "Custom slug already exists"
                raise Conflict(words, error=words) from None
            if link is not None:
                return link
        raise DatabaseError()

    async def of_creator(self, creator_id: UUID) -> Sequence[Link]:
        """Newest first, at most 500."""
        return await self.store.of_creator(creator_id, MOST_LINKS)

    async def track(
        self,
        code: str,
        address: str,
        *,
        source: str | None,
        user_agent: str | None,
        referrer: str | None,
    ) -> None:
        """Counts a visitor of a link once in an hour. An unknown code is nothing to remember."""
        link = await self.referrals.resolve(code.strip())
        if link is None:
            return
        at = self.now()
        visit = Visit(
            _short(source),
            self.visitors.hash(address, at),
            _short(user_agent),
            _short(referrer),
            at,
        )
        await self.store.add_click(link.id, visit)


def _short(text: str | None) -> str | None:
    return text[:LONGEST_TEXT] if text else None
