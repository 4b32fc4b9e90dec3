"""The SQL of referral codes and attributions, as the server itself."""

from __future__ import annotations

from typing import LiteralString
from uuid import UUID

from attrs import field, frozen

from cookcam.database import SERVICE, Database
from cookcam.features.referrals.models import Newcomer, ReferralLink

COLUMNS: LiteralString = "l.id, l.creator_id, l.link_code, l.custom_slug"

BY_CODE = f"""
select {COLUMNS} from public.creator_affiliate_links l
where l.link_code = %(code)s and l.is_active"""  # noqa: S608 - constants

# A slug may itself begin with the prefix that the website puts before it: the longer one is meant.
BY_SLUG = f"""
select {COLUMNS} from public.creator_affiliate_links l
where l.custom_slug = any(%(slugs)s) and l.is_active
order by length(l.custom_slug) desc limit 1"""  # noqa: S608 - constants

CREATORS: LiteralString = """
select u.id from public.users u
where u.is_creator and upper(right(u.id::text, 8)) = %(suffix)s limit 2"""

CHEF_LINK: LiteralString = """
insert into public.creator_affiliate_links (creator_id, link_code)
values (%(creator_id)s, %(code)s) on conflict (link_code) do nothing"""

NEWCOMER: LiteralString = """
select u.created_at,
  (select a.link_code from public.referral_attributions a where a.user_id = u.id) as attributed_to,
  exists (
    select from public.user_subscriptions s where s.user_id = u.id and s.status <> 'incomplete'
  ) as has_paid
from public.users u where u.id = %(user_id)s"""

ATTRIBUTE: LiteralString = """
insert into public.referral_attributions (user_id, referrer_id, affiliate_link_id, link_code)
values (%(user_id)s, %(referrer_id)s, %(link_id)s, %(code)s)
on conflict (user_id) do nothing"""


@frozen
class Found:
    id: UUID


@frozen
class ReferralStore:
    database: Database = field(repr=False)

    async def by_code(self, code: str) -> ReferralLink | None:
        return await self.database.fetch_optional_as(SERVICE, ReferralLink, BY_CODE, code=code)

    async def by_slug(self, *slugs: str) -> ReferralLink | None:
        return await self.database.fetch_optional_as(
            SERVICE, ReferralLink, BY_SLUG, slugs=list(slugs)
        )

    async def creators_ending_in(self, suffix: str) -> list[UUID]:
        """At most two: more than one is as good as none."""
        rows = await self.database.fetch_all_as(SERVICE, Found, CREATORS, suffix=suffix)
        return [row.id for row in rows]

    async def make_link(self, creator_id: UUID, code: str) -> None:
        """A creator's own link, if it is missing."""
        async with self.database.transaction() as tx:
            await tx.execute(CHEF_LINK, creator_id=creator_id, code=code)

    async def newcomer(self, user_id: UUID) -> Newcomer:
        """Raises NotFound without a profile."""
        return await self.database.fetch_one_as(SERVICE, Newcomer, NEWCOMER, user_id=user_id)

    async def attribute(self, user_id: UUID, link: ReferralLink) -> bool:
        """False when somebody was first."""
        async with self.database.transaction() as tx:
            return (
                await tx.execute(
                    ATTRIBUTE,
                    user_id=user_id,
                    referrer_id=link.creator_id,
                    link_id=link.id,
                    code=link.link_code,
                )
                > 0
            )
