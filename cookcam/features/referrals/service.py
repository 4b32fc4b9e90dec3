"""Who brought whom.

    link = await referrals.resolve(code)   # any of the four forms, None for an unknown code

The forms are those of `spec/client-contract.md` §8.1; the rules of attribution those of
`spec/http-api-core.md` §6.9 and `spec/payments-and-gamification.md` §6.3.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Literal

import structlog
from attrs import field, frozen

from cookcam.errors import ValidationError
from cookcam.features.accounts.service import Profiles
from cookcam.features.referrals.models import ReferralLink
from cookcam.features.referrals.store import ReferralStore
from cookcam.identity import Identity

NEW_FOR: Final = timedelta(days=30)

_LINK = re.compile(r"CC_[A-Z0-9]{8}")
_CHEF = re.compile(r"CHEF_([0-9A-F]{8})")
_SLUG = re.compile(r"[a-z0-9-]{3,48}")
_WEBSITE = "creator-"

Outcome = Literal["linked", "linked before", "linked to another", "too late"]

log = structlog.get_logger(__name__)


@frozen
class Referrals:
    store: ReferralStore
    profiles: Profiles
    now: Callable[[], datetime] = field(repr=False)

    async def resolve(self, code: str) -> ReferralLink | None:
        """The active link that a code stands for; case does not matter.

        `CC_` + 8 is a link's own code. `CHEF_` + 8 is the one creator whose id ends so (with two
        of them, nobody), whose link is made on first use. Anything else is a custom slug, with or
        without the `creator-` of the website.
        """
        if _LINK.fullmatch(code.upper()):
            return await self.store.by_code(code.upper())
        chef = _CHEF.fullmatch(code.upper())
        if chef:
            return await self._of_chef(code.upper(), chef[1])
        slug = code.lower()
        if not _SLUG.fullmatch(slug):
            return None
        return await self.store.by_slug(slug, slug.removeprefix(_WEBSITE))

    async def link(self, caller: Identity, code: str) -> Outcome:
        """Says that the caller came by this code.

        Counts once, for a new account, before anything was paid; what comes later changes nothing.
        Raises ValidationError without a code, for an unknown one and for the caller's own.
        """
        if not code.strip():
            raise _refused("Referral code is required")
        link = await self.resolve(code.strip())
        if link is None or link.creator_id == caller.user_id:
            raise _refused("Invalid referral code")
        await self.profiles.of(caller)  # made, if it is missing
        newcomer = await self.store.newcomer(caller.user_id)
        if newcomer.attributed_to is None:
            if newcomer.has_paid or newcomer.created_at + NEW_FOR < self.now():
                return "too late"
            if await self.store.attribute(caller.user_id, link):
                return "linked"
            newcomer = await self.store.newcomer(caller.user_id)
        if newcomer.attributed_to == link.link_code:
            return "linked before"
        log.info("a second referral changes nothing", link=str(link.id))
        return "linked to another"

    async def _of_chef(self, code: str, suffix: str) -> ReferralLink | None:
        creators = await self.store.creators_ending_in(suffix)
        if len(creators) != 1:
            return None
        link = await self.store.by_code(code)
        if link is None:
            await self.store.make_link(creators[0], code)
            link = await self.store.by_code(code)
        return link if link is not None and link.creator_id == creators[0] else None


def _refused(words: str) -> ValidationError:
    return ValidationError(words, error=words)
