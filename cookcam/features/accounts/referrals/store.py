"""The SQL of referral codes and attributions, under the server's role."""

from __future__ import annotations

from typing import LiteralString
from uuid import UUID

from attrs import field, frozen

from cookcam.database import SERVICE, Database
from cookcam.features.accounts.referrals.models import ReferralLink, ReferralStatus

COLUMNS: LiteralString = "l.id, l.creator_id, l.link_code, l.custom_slug"

BY_CODE = f"""
select {COLUMNS} from public.creator_affiliate_links l
where l.link_code = %(code)s and l.is_active"""  # noqa: S608 - constants

# A slug may itself start with the prefix that the website adds, so the longest match wins.
BY_SLUG = f"""
select {COLUMNS} from public.creator_affiliate_links l
where l.custom_slug = any(%(slugs)s) and l.is_active
order by length(l.custom_slug) desc limit 1"""  # noqa: S608 - constants

CREATORS_BY_SUFFIX: LiteralString = """
select u.id from public.users u
where u.is_creator and upper(right(u.id::text, 8)) = %(suffix)s limit 2"""

INSERT_LINK: LiteralString = """
insert into public.creator_affiliate_links (creator_id, link_code)
values (%(creator_id)s, %(code)s) on conflict (link_code) do nothing"""

STATUS: LiteralString = """
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
class CreatorId:
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

    async def creators_by_id_suffix(self, suffix: str) -> list[UUID]:
        """The ids of at most two creators: two are enough to see that the suffix is ambiguous."""
        rows = await self.database.fetch_all_as(
            SERVICE, CreatorId, CREATORS_BY_SUFFIX, suffix=suffix
        )
        return [row.id for row in rows]

    async def insert_link(self, creator_id: UUID, code: str) -> None:
        """Inserts a creator's own link unless the code exists."""
        async with self.database.transaction() as tx:
            await tx.execute(INSERT_LINK, creator_id=creator_id, code=code)

    async def status(self, user_id: UUID) -> ReferralStatus:
        """The user's referral status. Raises NotFound without a profile."""
        return await self.database.fetch_one_as(SERVICE, ReferralStatus, STATUS, user_id=user_id)

    async def attribute(self, user_id: UUID, link: ReferralLink) -> bool:
        """Attributes the user. Returns False when the user is attributed already."""
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
