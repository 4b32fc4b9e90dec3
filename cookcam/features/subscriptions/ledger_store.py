"""The SQL by which subscriptions change. Runs in the transaction it is given, as the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import Jsonb, Transaction
from cookcam.features.subscriptions.changes import Action, SourceEvent, SubscriptionChange
from cookcam.features.subscriptions.models import Subscription, TierSlug
from cookcam.features.subscriptions.store import COLUMNS

# All changes of one user's rows take turns here.
LOCK: LiteralString = "select from public.users where id = %(user_id)s for no key update"

# What the user pays for, or did until now, and the row that a change is about.
ROWS = f"""
select {COLUMNS} from public.user_subscriptions s
where s.user_id = %(user_id)s
  and (
    coalesce(s.superseded_status, s.status) in ('active', 'trialing', 'past_due')
    or (
      s.provider = %(provider)s and s.provider_subscription_id = %(provider_subscription_id)s
    )
  )
order by s.id"""  # noqa: S608 - constants

SEEN: LiteralString = """
select exists (
  select from public.subscription_history
  where source = %(source)s and event_ref = %(ref)s and subscription_id = %(subscription_id)s
)"""

# Superseded from the start, so that it takes no place before the election: `store` gives it one.
ADD = f"""
insert into public.user_subscriptions as s (
  user_id, tier_id, status, superseded_status, current_period_start, current_period_end,
  cancel_at_period_end, canceled_at, last_verified_at, provider, provider_subscription_id,
  provider_customer_id, product_id, as_of
)
values (
  %(user_id)s, %(tier_id)s, 'cancelled', %(superseded_status)s, %(current_period_start)s,
  %(current_period_end)s, %(cancel_at_period_end)s, %(canceled_at)s, now(), %(provider)s,
  %(provider_subscription_id)s, %(provider_customer_id)s, %(product_id)s, %(as_of)s
)
on conflict (provider, provider_subscription_id) where provider_subscription_id is not null
do nothing
returning {COLUMNS}"""  # noqa: S608 - constants

STORE: LiteralString = """
update public.user_subscriptions set
  tier_id = %(tier_id)s,
  status = %(status)s,
  superseded_status = %(superseded_status)s,
  current_period_start = %(current_period_start)s,
  current_period_end = %(current_period_end)s,
  cancel_at_period_end = %(cancel_at_period_end)s,
  canceled_at = %(canceled_at)s,
  provider_customer_id = %(provider_customer_id)s,
  product_id = %(product_id)s,
  as_of = %(as_of)s
where id = %(id)s"""

VERIFIED: LiteralString = """
update public.user_subscriptions set last_verified_at = now() where id = %(id)s"""

RECORD: LiteralString = """
insert into public.subscription_history (
  user_id, subscription_id, action, source, event_ref, from_tier_id, to_tier_id, metadata
)
values (
  %(user_id)s, %(subscription_id)s, %(action)s, %(source)s, %(ref)s, %(from_tier)s, %(to_tier)s,
  %(metadata)s
)"""

# A creator is who has the tier; the profile says so to others.
MIRROR: LiteralString = """
update public.users set is_creator = (public.user_tier_id(id) = 3)
where id = %(user_id)s and is_creator <> (public.user_tier_id(id) = 3)"""

SLUG: LiteralString = """
select slug from public.subscription_tiers where id = public.user_tier_id(%(user_id)s)"""


@frozen
class LedgerStore:
    tx: Transaction

    async def lock(self, user_id: UUID) -> bool:
        """Whether there is such a user; nobody else changes the user's rows until the end."""
        return await self.tx.execute(LOCK, user_id=user_id) > 0

    async def rows(self, change: SubscriptionChange) -> list[Subscription]:
        return await self.tx.fetch_all(
            Subscription,
            ROWS,
            user_id=change.user_id,
            provider=change.provider,
            provider_subscription_id=change.provider_subscription_id,
        )

    async def has_seen(self, event: SourceEvent, subscription_id: UUID) -> bool:
        if event.ref is None:
            return False
        return await self.tx.fetch_value(
            SEEN, source=event.source, ref=event.ref, subscription_id=subscription_id
        )

    async def add(self, change: SubscriptionChange, status: str | None) -> Subscription | None:
        """None when the provider's subscription is another user's."""
        return await self.tx.fetch_optional(
            Subscription,
            ADD,
            user_id=change.user_id,
            tier_id=change.tier_id,
            superseded_status=status,
            current_period_start=change.current_period_start,
            current_period_end=change.current_period_end,
            cancel_at_period_end=change.cancel_at_period_end,
            canceled_at=change.canceled_at,
            provider=change.provider,
            provider_subscription_id=change.provider_subscription_id,
            provider_customer_id=change.provider_customer_id,
            product_id=change.product_id,
            as_of=change.as_of,
        )

    async def store(self, rows: Sequence[Subscription]) -> None:
        """In this order: a place is given up before it is taken."""
        for row in rows:
            await self.tx.execute(
                STORE,
                id=row.id,
                tier_id=row.tier_id,
                status=row.status,
                superseded_status=row.superseded_status,
                current_period_start=row.current_period_start,
                current_period_end=row.current_period_end,
                cancel_at_period_end=row.cancel_at_period_end,
                canceled_at=row.canceled_at,
                provider_customer_id=row.provider_customer_id,
                product_id=row.product_id,
                as_of=row.as_of,
            )

    async def verified(self, subscription_id: UUID) -> None:
        await self.tx.execute(VERIFIED, id=subscription_id)

    async def record(
        self,
        action: Action,
        event: SourceEvent,
        before: Subscription | None,
        after: Subscription,
        metadata: Mapping[str, Any],
    ) -> None:
        await self.tx.execute(
            RECORD,
            user_id=after.user_id,
            subscription_id=after.id,
            action=action,
            source=event.source,
            ref=event.ref,
            from_tier=before.tier_id if before else None,
            to_tier=after.tier_id,
            metadata=Jsonb(dict(metadata)),
        )

    async def mirror(self, user_id: UUID) -> TierSlug:
        """Writes to the profile whether the user is a creator; returns the user's tier."""
        await self.tx.execute(MIRROR, user_id=user_id)
        return await self.tx.fetch_value(SLUG, user_id=user_id)
