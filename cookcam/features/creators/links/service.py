"""Affiliate links: creation, and counting of visitors."""

from __future__ import annotations

import hmac
import re
import secrets
import string
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final
from uuid import UUID

from attrs import field, frozen

from cookcam.config.readers import Secret
from cookcam.errors import Conflict, DatabaseError, DuplicateEntry
from cookcam.features.accounts.referrals.service import Referrals
from cookcam.features.creators.links.store import LinkStore
from cookcam.features.creators.models import Link, Visit
from cookcam.features.literals import rejected_field
from cookcam.text import clean_line

ALPHABET: Final = string.ascii_uppercase + string.digits
CODE_LENGTH: Final = 8
MAX_ATTEMPTS: Final = 10
DEFAULT_CAMPAIGN: Final = "Default Campaign"
MAX_CAMPAIGN_LENGTH: Final = 100
MAX_TEXT_LENGTH: Final = 500
MAX_LINKS: Final = 500

_SLUG = re.compile(r"[a-z0-9-]{3,40}")


def new_code() -> str:
    return "CC_" + "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH))


@frozen
class Visitors:
    """Hashes addresses under a daily key, so visits of different days cannot be linked."""

    secret: Secret

    def hash(self, address: str, at: datetime) -> str:
        day = at.astimezone(UTC).date().isoformat()
        key = _mac(self.secret.reveal().encode(), f"cookcam affiliate clicks {day}").digest()
        return _mac(key, address).hexdigest()


@frozen
class Links:
    store: LinkStore
    referrals: Referrals
    visitors: Visitors
    now: Callable[[], datetime] = field(repr=False)
    code: Callable[[], str] = new_code

    async def create(self, creator_id: UUID, campaign: str | None, slug: str | None) -> Link:
        """Creates a link.

        Raises ValidationError for an invalid slug or campaign, and Conflict for a taken slug.
        """
        campaign = clean_line(campaign or "") or DEFAULT_CAMPAIGN
        if len(campaign) > MAX_CAMPAIGN_LENGTH:
            raise rejected_field("Campaign name is too long", "campaignName")
        if slug is not None and not _SLUG.fullmatch(slug):
            raise rejected_field("Invalid custom slug", "customSlug")
        for _ in range(MAX_ATTEMPTS):
            try:
                link = await self.store.add(creator_id, self.code(), slug, campaign)
            except DuplicateEntry:
                message = "Custom slug already exists"
                raise Conflict(message, error=message) from None
            if link is not None:
                return link
        raise DatabaseError()

    async def of_creator(self, creator_id: UUID) -> Sequence[Link]:
        """The creator's links, newest first, at most MAX_LINKS."""
        return await self.store.of_creator(creator_id, MAX_LINKS)

    async def track(
        self,
        code: str,
        address: str,
        *,
        source: str | None,
        user_agent: str | None,
        referrer: str | None,
    ) -> None:
        """Counts a visitor of a link once an hour. Unknown codes are ignored."""
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
    return text[:MAX_TEXT_LENGTH] if text else None


def _mac(key: bytes, text: str) -> hmac.HMAC:
    return hmac.new(key, text.encode(), sha256)
