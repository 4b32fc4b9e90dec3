"""Resolves referral codes and attributes new users to creators.

link = await referrals.resolve(code)   # any of the four forms, None for an unknown code
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Literal

import structlog
from attrs import field, frozen

from cookcam.errors import ValidationError
from cookcam.features.accounts.referrals.models import ReferralLink
from cookcam.features.accounts.referrals.store import ReferralStore
from cookcam.features.accounts.service import Profiles
from cookcam.identity import Identity

NEW_ACCOUNT_PERIOD: Final = timedelta(days=30)

_LINK_CODE = re.compile(r"CC_[A-Z0-9]{8}")
_CREATOR_CODE = re.compile(r"CHEF_([0-9A-F]{8})")
_SLUG = re.compile(r"[a-z0-9-]{3,48}")
_WEBSITE_PREFIX = "creator-"

Outcome = Literal["linked", "linked before", "linked to another", "too late"]

log = structlog.get_logger(__name__)


@frozen
class Referrals:
    store: ReferralStore
    profiles: Profiles
    now: Callable[[], datetime] = field(repr=False)

    async def resolve(self, code: str) -> ReferralLink | None:
        """The active link of a code, case-insensitive; None for an unknown code.

        `CC_` and 8 characters: the code of a link. `CHEF_` and 8 hex digits: the creator whose id
        ends with them, unless two creators match; the creator's link is inserted on first use. Any
        other code: a custom slug, with or without the prefix `creator-` of the website.
        """
        if _LINK_CODE.fullmatch(code.upper()):
            return await self.store.by_code(code.upper())
        match = _CREATOR_CODE.fullmatch(code.upper())
        if match:
            return await self._by_creator_code(code.upper(), match[1])
        slug = code.lower()
        if not _SLUG.fullmatch(slug):
            return None
        return await self.store.by_slug(slug, slug.removeprefix(_WEBSITE_PREFIX))

    async def link(self, caller: Identity, code: str) -> Outcome:
        """Attributes the caller to the creator of the code.

        Applies once, to an account younger than NEW_ACCOUNT_PERIOD that has not paid yet; later
        calls change nothing. Raises ValidationError for a missing or unknown code, and for the
        caller's own.
        """
        if not code.strip():
            raise _invalid("Referral code is required")
        link = await self.resolve(code.strip())
        if link is None or link.creator_id == caller.user_id:
            raise _invalid("Invalid referral code")
        await self.profiles.of(caller)  # creates a missing profile
        status = await self.store.status(caller.user_id)
        if status.attributed_to is None:
            if status.has_paid or status.created_at + NEW_ACCOUNT_PERIOD < self.now():
                return "too late"
            if await self.store.attribute(caller.user_id, link):
                return "linked"
            status = await self.store.status(caller.user_id)
        if status.attributed_to == link.link_code:
            return "linked before"
        log.info("second referral ignored", link=str(link.id))
        return "linked to another"

    async def _by_creator_code(self, code: str, suffix: str) -> ReferralLink | None:
        creators = await self.store.creators_by_id_suffix(suffix)
        if len(creators) != 1:
            return None
        link = await self.store.by_code(code)
        if link is None:
            await self.store.insert_link(creators[0], code)
            link = await self.store.by_code(code)
        return link if link is not None and link.creator_id == creators[0] else None


def _invalid(message: str) -> ValidationError:
    return ValidationError(message, error=message)
