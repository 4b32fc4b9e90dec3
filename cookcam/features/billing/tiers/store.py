"""Reading tiers, features, subscriptions and usage.

Read as SERVICE, with the user in the statement: the reads are also needed without a caller, for
instance in a webhook.
"""

from __future__ import annotations

from typing import LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import SERVICE, Database, Transaction
from cookcam.features.billing.tiers.models import Provider, Subscription, Tier

COLUMNS: LiteralString = """
  s.id, s.user_id, s.tier_id, s.status, s.superseded_status, s.current_period_start,
  s.current_period_end, s.cancel_at_period_end, s.canceled_at, s.last_verified_at, s.provider,
  s.provider_subscription_id, s.provider_customer_id, s.product_id, s.as_of, s.created_at,
  s.updated_at, s.grace_until"""

TIERS: LiteralString = """
select id, slug, name, price_monthly_cents, price_yearly_cents, currency, features, limits,
  revenue_share_percentage, is_active, created_at, updated_at
from public.subscription_tiers
order by price_monthly_cents, id
limit 100"""

FEATURES: LiteralString = """
select feature_key, tier_requirements from public.feature_access
where is_active order by feature_key limit 1000"""

LIVE_ROW = f"""
select {COLUMNS} from public.user_subscriptions s
where s.user_id = %(user_id)s and s.status in ('active', 'trialing', 'past_due')"""  # noqa: S608

LIVE_ROWS = f"""
select {COLUMNS} from public.user_subscriptions s
where s.user_id = %(user_id)s
  and coalesce(s.superseded_status, s.status) in ('active', 'trialing', 'past_due')
order by s.id limit 1000"""  # noqa: S608 - constants

OF_PROVIDER = f"""
select {COLUMNS} from public.user_subscriptions s
where s.provider = %(provider)s
  and s.provider_subscription_id = %(provider_subscription_id)s"""  # noqa: S608 - constants

# The newest row with a customer: each user has one customer.
CUSTOMER: LiteralString = """
select (
  select provider_customer_id from public.user_subscriptions
  where user_id = %(user_id)s and provider = 'stripe' and provider_customer_id is not null
  order by created_at desc limit 1
)"""

OWNER: LiteralString = """
select (
  select user_id from public.user_subscriptions
  where provider_customer_id = %(customer_id)s and provider = 'stripe' limit 1
)"""

# Subscriptions that continue at Stripe, and would be charged again, though another one is current.
# Granted days are current while a renewal is late, and supersede only a lower tier.
SUPERSEDED = f"""
select {COLUMNS} from public.user_subscriptions s
where s.superseded_status is not null and s.provider = 'stripe'
  and (not s.cancel_at_period_end or s.superseded_status = 'past_due')
  and not exists (
    select from public.user_subscriptions o
    where o.user_id = s.user_id and o.status in ('active', 'trialing', 'past_due')
      and o.provider = 'manual' and o.tier_id <= s.tier_id
  )
order by s.updated_at limit %(limit)s"""  # noqa: S608 - constants

TIER_ID: LiteralString = "select public.user_tier_id(%(user_id)s)"
HAS_FEATURE: LiteralString = "select public.user_has_feature_access(%(user_id)s, %(key)s)"


@frozen
class Feature:
    feature_key: str
    tier_requirements: list[int]


@frozen
class SubscriptionStore:
    database: Database

    async def tiers(self) -> list[Tier]:
        """All tiers, including retired ones; the cheapest first."""
        return await self.database.fetch_all_as(SERVICE, Tier, TIERS)

    async def features(self) -> list[Feature]:
        """The active features, by key."""
        return await self.database.fetch_all_as(SERVICE, Feature, FEATURES)

    async def live(self, user_id: UUID) -> Subscription | None:
        """The user's current row, whether or not its period is over."""
        return await self.database.fetch_optional_as(
            SERVICE, Subscription, LIVE_ROW, user_id=user_id
        )

    async def find(self, provider: Provider, provider_subscription_id: str) -> Subscription | None:
        return await self.database.fetch_optional_as(
            SERVICE,
            Subscription,
            OF_PROVIDER,
            provider=provider,
            provider_subscription_id=provider_subscription_id,
        )

    async def find_in(
        self, tx: Transaction, provider: Provider, provider_subscription_id: str
    ) -> Subscription | None:
        """`find`, within the transaction."""
        return await tx.fetch_optional(
            Subscription,
            OF_PROVIDER,
            provider=provider,
            provider_subscription_id=provider_subscription_id,
        )

    async def live_rows_in(self, tx: Transaction, user_id: UUID) -> list[Subscription]:
        """Subscriptions that continue at their provider, current or not, within the transaction."""
        return await tx.fetch_all(Subscription, LIVE_ROWS, user_id=user_id)

    async def customer_of(self, user_id: UUID) -> str | None:
        """The customer id of a user who has bought at Stripe before."""
        return await self.database.fetch_value_as(SERVICE, CUSTOMER, user_id=user_id)

    async def owner_of(self, customer_id: str) -> UUID | None:
        """The user with that customer id at Stripe."""
        return await self.database.fetch_value_as(SERVICE, OWNER, customer_id=customer_id)

    async def superseded(self, limit: int) -> list[Subscription]:
        """Subscriptions to end at Stripe, because another one supersedes them."""
        return await self.database.fetch_all_as(SERVICE, Subscription, SUPERSEDED, limit=limit)

    async def tier_id(self, user_id: UUID) -> int:
        return await self.database.fetch_value_as(SERVICE, TIER_ID, user_id=user_id)

    async def has_feature(self, user_id: UUID, key: str) -> bool:
        return await self.database.fetch_value_as(SERVICE, HAS_FEATURE, user_id=user_id, key=key)
