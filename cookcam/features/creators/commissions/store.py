"""The SQL of attributions and conversions, in the transaction of the subscription change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString
from uuid import UUID

from attrs import field, frozen

from cookcam.database import Database, Transaction

# One statement, so that no payment can happen between check and insert. Attribution is first touch:
# only of a new account that has not paid yet.
ATTRIBUTE: LiteralString = """
insert into public.referral_attributions (user_id, referrer_id, affiliate_link_id, link_code)
select u.id, %(referrer_id)s, %(link_id)s, %(code)s
from public.users u
where u.id = %(user_id)s and u.id <> %(referrer_id)s
  and u.created_at > now() - make_interval(days => %(days)s)
  and not exists (
    select from public.user_subscriptions s where s.user_id = u.id and s.status <> 'incomplete'
  )
on conflict (user_id) do nothing"""

# Serialises the conversions of one subscriber; changes of subscriptions take the same lock.
LOCK: LiteralString = "select from public.users where id = %(user_id)s for no key update"

ATTRIBUTION: LiteralString = """
select referrer_id, affiliate_link_id from public.referral_attributions
where user_id = %(user_id)s and attributed_at <= now()"""

CONVERTED: LiteralString = """
update public.referral_attributions set converted_at = now()
where user_id = %(user_id)s and converted_at is null"""

# No conflict target, because there are two unique keys: one conversion for each subscription, and
# one active conversion for each subscriber.
CONVERT: LiteralString = """
insert into public.affiliate_conversions (
  link_id, creator_id, subscriber_id, subscription_id, tier_id, deactivated_at
)
values (
  %(link_id)s, %(creator_id)s, %(subscriber_id)s, %(subscription_id)s, %(tier_id)s,
  case when %(live)s then null else now() end
)
on conflict do nothing"""

# For a subscription that ended and was then resumed.
REACTIVATE: LiteralString = """
update public.affiliate_conversions c set deactivated_at = null
where c.subscription_id = %(subscription_id)s and c.deactivated_at is not null
  and not exists (
    select from public.affiliate_conversions other
    where other.subscriber_id = c.subscriber_id and other.deactivated_at is null
  )"""

CONVERSION: LiteralString = """
select id from public.affiliate_conversions
where creator_id = %(creator_id)s and subscriber_id = %(subscriber_id)s
order by subscription_id is not distinct from %(subscription_id)s desc, converted_at desc
limit 1"""

DEACTIVATE: LiteralString = """
update public.affiliate_conversions set deactivated_at = greatest(now(), converted_at)
where subscription_id = any(%(subscription_ids)s) and deactivated_at is null"""


@frozen
class Attribution:
    referrer_id: UUID
    affiliate_link_id: UUID | None


@frozen
class _Conversion:
    id: UUID


@frozen
class AttributionStore:
    database: Database = field(repr=False)

    async def attribute(
        self, user_id: UUID, *, referrer_id: UUID, link_id: UUID, code: str, days: int
    ) -> bool:
        """Attributes the user. Returns False for an account that is older than `days`, has paid, or
        is attributed already."""
        async with self.database.transaction() as tx:
            written = await tx.execute(
                ATTRIBUTE,
                user_id=user_id,
                referrer_id=referrer_id,
                link_id=link_id,
                code=code,
                days=days,
            )
        return written > 0


@frozen
class ConversionStore:
    """Reads and writes in the given transaction, under the server's role."""

    tx: Transaction

    def lock(self, user_id: UUID) -> None:
        """Locks the user's row; the lock is sent with the next statement."""
        self.tx.defer(LOCK, user_id=user_id)

    async def attribution(self, user_id: UUID) -> Attribution | None:
        return await self.tx.fetch_optional(Attribution, ATTRIBUTION, user_id=user_id)

    async def convert(
        self,
        attribution: Attribution,
        *,
        subscriber_id: UUID,
        subscription_id: UUID,
        tier_id: int,
        live: bool,
    ) -> None:
        """Stores the conversion once; if `live`, reactivates an inactive one."""
        await self.tx.execute(CONVERTED, user_id=subscriber_id)
        added = await self.tx.execute(
            CONVERT,
            link_id=attribution.affiliate_link_id,
            creator_id=attribution.referrer_id,
            subscriber_id=subscriber_id,
            subscription_id=subscription_id,
            tier_id=tier_id,
            live=live,
        )
        if not added and live:
            await self.tx.execute(REACTIVATE, subscription_id=subscription_id)

    async def conversion(
        self, creator_id: UUID, subscriber_id: UUID, subscription_id: UUID
    ) -> UUID | None:
        """The conversion of the subscription, or else the subscriber's newest one."""
        conversion = await self.tx.fetch_optional(
            _Conversion,
            CONVERSION,
            creator_id=creator_id,
            subscriber_id=subscriber_id,
            subscription_id=subscription_id,
        )
        return conversion.id if conversion else None

    async def deactivate(self, subscription_ids: Sequence[UUID]) -> None:
        await self.tx.execute(DEACTIVATE, subscription_ids=list(subscription_ids))
