"""The SQL of affiliate links and their clicks, under the server's role."""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString
from uuid import UUID

from attrs import field, frozen

from cookcam.database import SERVICE, Database
from cookcam.features.creators.models import Link, Visit

COLUMNS: LiteralString = """
  l.id, l.creator_id, l.link_code, l.custom_slug, l.campaign_name, l.is_active, l.click_count,
  l.conversions_count, l.created_at"""

ADD = f"""
insert into public.creator_affiliate_links as l (
  creator_id, link_code, custom_slug, campaign_name
)
values (%(creator_id)s, %(code)s, %(slug)s, %(campaign)s)
on conflict (link_code) do nothing
returning {COLUMNS}"""  # noqa: S608 - constants

OF_CREATOR = f"""
select {COLUMNS} from public.creator_affiliate_links l
where l.creator_id = %(creator_id)s
order by l.created_at desc, l.id limit %(limit)s"""  # noqa: S608 - constants

# A trigger updates the counter, so it counts rows and not requests.
CLICK: LiteralString = """
insert into public.affiliate_link_clicks (
  link_id, source, ip_hash, user_agent, referrer, hour_bucket, clicked_at
)
values (
  %(link_id)s, %(source)s, %(visitor)s, %(user_agent)s, %(referrer)s,
  date_trunc('hour', %(at)s::timestamptz, 'UTC'), %(at)s
)
on conflict (link_id, ip_hash, hour_bucket) do nothing"""


@frozen
class LinkStore:
    database: Database = field(repr=False)

    async def add(
        self, creator_id: UUID, code: str, slug: str | None, campaign: str
    ) -> Link | None:
        """Inserts a link; None when the code is taken. Raises DuplicateEntry for a taken slug."""
        async with self.database.transaction() as tx:
            return await tx.fetch_optional(
                Link, ADD, creator_id=creator_id, code=code, slug=slug, campaign=campaign
            )

    async def of_creator(self, creator_id: UUID, limit: int) -> Sequence[Link]:
        """The creator's links, newest first."""
        return await self.database.fetch_all_as(
            SERVICE, Link, OF_CREATOR, creator_id=creator_id, limit=limit
        )

    async def add_click(self, link_id: UUID, visit: Visit) -> bool:
        """Stores a click. Returns False for a repeated visit in the same hour."""
        async with self.database.transaction() as tx:
            written = await tx.execute(
                CLICK,
                link_id=link_id,
                source=visit.source,
                visitor=visit.visitor,
                user_agent=visit.user_agent,
                referrer=visit.referrer,
                at=visit.at,
            )
        return written > 0
