"""The SQL of changes of subscriptions. Runs as the server, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString
from uuid import UUID

from attrs import asdict, frozen

from cookcam.database import Jsonb, Transaction
from cookcam.features.billing.ledger.changes import Action, SourceEvent, SubscriptionChange
from cookcam.features.billing.tiers.models import Provider, Subscription, TierSlug
from cookcam.features.billing.tiers.store import COLUMNS

# Serialises all changes of one user's rows.
LOCK: LiteralString = "select from public.users where id = %(user_id)s for no key update"

# The user's paid subscriptions, and the row of the change, also if it is another user's; and
# whether the event has changed that row before.
ROWS = f"""
select {COLUMNS},
  exists (
    select from public.subscription_history h
    where h.source = %(source)s and h.event_ref = %(ref)s and h.subscription_id = s.id
  ) as repeated
from public.user_subscriptions s
where (
    s.user_id = %(user_id)s
    and coalesce(s.superseded_status, s.status) in ('active', 'trialing', 'past_due')
  )
  or (s.provider = %(provider)s and s.provider_subscription_id = %(provider_subscription_id)s)
order by s.id"""  # noqa: S608 - constants

# Superseded at first, so that it is not current before the election; `store` updates it.
# Only for an existing user, and only if the subscription is bound to no other user.
ADD = f"""
insert into public.user_subscriptions as s (
  user_id, tier_id, status, superseded_status, current_period_start, current_period_end,
  cancel_at_period_end, canceled_at, last_verified_at, provider, provider_subscription_id,
  provider_customer_id, product_id, as_of, grace_until
)
select
  u.id, %(tier_id)s, 'cancelled', %(superseded_status)s, %(current_period_start)s,
  %(current_period_end)s, %(cancel_at_period_end)s, %(canceled_at)s, now(), %(provider)s,
  %(provider_subscription_id)s, %(provider_customer_id)s, %(product_id)s, %(as_of)s, %(grace_until)s
from public.users u where u.id = %(user_id)s
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
  as_of = %(as_of)s,
  grace_until = %(grace_until)s,
  last_verified_at = case when %(verified)s then now() else last_verified_at end
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

# Users with the creator tier are creators; the profile shows it to other users.
MIRROR: LiteralString = """
update public.users set is_creator = (public.user_tier_id(id) = 3)
where id = %(user_id)s and is_creator <> (public.user_tier_id(id) = 3)"""

SLUG: LiteralString = """
select slug from public.subscription_tiers where id = public.user_tier_id(%(user_id)s)"""


@frozen
class LockedSubscriptions:
    """A user's subscriptions, locked until the end of the transaction.

    `rows` are those that are live at their providers, with `current`, the requested one, unless it
    belongs to another user. `repeated`: the event has changed `current` before.
    """

    user_id: UUID | None
    rows: Sequence[Subscription]
    current: Subscription | None
    repeated: bool

    @property
    def belongs_to_another(self) -> bool:
        return self.current is not None and self.current.user_id != self.user_id


@frozen
class LedgerStore:
    tx: Transaction

    async def lock(self, user_id: UUID) -> bool:
        """Locks the user's rows until the end of the transaction; False for an unknown user."""
        return await self.tx.execute(LOCK, user_id=user_id) > 0

    async def read_locked(
        self,
        user_id: UUID | None,
        provider: Provider,
        subscription_id: str,
        event: SourceEvent,
    ) -> LockedSubscriptions:
        """Locks the user's rows and reads them, in one round trip."""
        if user_id is not None:
            # A separate statement: one that waits for a lock reads the other rows in their earlier
            # state.
            self.tx.defer(LOCK, user_id=user_id)
        columns: list[dict[str, Any]] = await self.tx.fetch_all(
            dict,
            ROWS,
            user_id=user_id,
            provider=provider,
            provider_subscription_id=subscription_id,
            source=event.source,
            ref=event.ref,
        )
        repeated = {row["id"] for row in columns if row.pop("repeated")}
        rows = [Subscription(**row) for row in columns]
        current = next((row for row in rows if row.is_of(provider, subscription_id)), None)
        return LockedSubscriptions(
            user_id,
            [row for row in rows if row.user_id == user_id],
            current,
            current is not None and current.id in repeated,
        )

    async def add(self, change: SubscriptionChange, status: str | None) -> Subscription | None:
        """None for an unknown user, or if the subscription is bound to another user by now."""
        return await self.tx.fetch_optional(
            Subscription,
            ADD,
            superseded_status=status,
            **asdict(change, recurse=False),
        )

    def store(self, rows: Sequence[Subscription], verified: Subscription) -> None:
        """Writes the rows in order: the former live row before the new one. `verified` is the
        change's row."""
        for row in rows:
            self.tx.defer(STORE, verified=row.id == verified.id, **asdict(row, recurse=False))

    def verified(self, subscription: Subscription) -> None:
        self.tx.defer(VERIFIED, id=subscription.id)

    def record(
        self,
        action: Action,
        event: SourceEvent,
        before: Subscription | None,
        after: Subscription,
        metadata: Mapping[str, Any],
    ) -> None:
        self.tx.defer(
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

    def mirror(self, user_id: UUID) -> None:
        """Updates `is_creator` in the user's profile."""
        self.tx.defer(MIRROR, user_id=user_id)

    async def tier(self, user_id: UUID) -> TierSlug:
        return await self.tx.fetch_value(SLUG, user_id=user_id)
