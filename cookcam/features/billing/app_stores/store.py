"""The SQL of purchases: bindings, the history of validations, acknowledgements.

The tables are accessed as SERVICE; no user can read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import SERVICE, Database, Jsonb, Transaction
from cookcam.features.billing.app_stores.models import (
    Binding,
    Purchase,
    SubmittedPurchase,
    UnacknowledgedPurchase,
    Validation,
    ValidationRecord,
)
from cookcam.features.billing.tiers.models import Platform

BINDING: LiteralString = """
select user_id from public.iap_receipt_bindings
where platform = %(platform)s and store_key = %(store_key)s"""

# Waits for a concurrent binding of the same purchase.
BIND: LiteralString = """
insert into public.iap_receipt_bindings (platform, store_key, user_id, first_product_id)
values (%(platform)s, %(store_key)s, %(user_id)s, %(product_id)s)
on conflict (platform, store_key) do nothing"""

USER: LiteralString = "select exists (select from public.users where id = %(user_id)s)"

RECENT: LiteralString = """
select status, product_id, user_id, transaction_id, original_transaction_id as store_key,
  environment, expires_at, validation_response ->> 'reason' as reason
from public.iap_validation_history
where platform = %(platform)s and receipt_hash = %(receipt_hash)s and status <> 'error'
  and validated_at > now() - interval '10 minutes'
order by validated_at desc limit 1"""

RECORD: LiteralString = """
insert into public.iap_validation_history (
  user_id, platform, product_id, receipt_hash, transaction_id, original_transaction_id, status,
  environment, expires_at, receipt_ciphertext, validation_response, validation_duration_ms
)
values (
  %(user_id)s, %(platform)s, %(product_id)s, %(receipt_hash)s, %(transaction_id)s, %(store_key)s,
  %(status)s, %(environment)s, %(expires_at)s, %(ciphertext)s, %(response)s, %(duration_ms)s
)"""

ACKNOWLEDGE_LATER: LiteralString = """
update public.iap_receipt_bindings set acknowledge_at = now() + interval '1 minute'
where platform = 'android' and store_key = %(store_key)s"""

ACKNOWLEDGED: LiteralString = """
update public.iap_receipt_bindings set acknowledge_at = null
where platform = 'android' and store_key = %(store_key)s"""

# Claimed by postponing them: if the worker is killed they are due again later.
UNACKNOWLEDGED: LiteralString = """
with due as (
  select platform, store_key from public.iap_receipt_bindings
  where acknowledge_at <= now()
  order by acknowledge_at limit %(limit)s
  for update skip locked
), taken as (
  update public.iap_receipt_bindings b set
    acknowledge_attempts = least(b.acknowledge_attempts + 1, 1000),
    acknowledge_at = case
      when b.first_seen_at > now() - interval '4 days'
      then now() + interval '1 minute' * least(power(2, b.acknowledge_attempts), 180)
    end
  from due d
  where b.platform = d.platform and b.store_key = d.store_key
  returning b.store_key, b.user_id, b.acknowledge_attempts
)
select t.store_key, s.product_id, s.provider_subscription_id as token,
  t.acknowledge_attempts as attempts
from taken t
join public.user_subscriptions s
  on s.user_id = t.user_id and s.provider = 'android' and s.product_id is not null
  and encode(sha256(convert_to(s.provider_subscription_id, 'UTF8')), 'hex') = t.store_key"""


@frozen
class PurchaseStore:
    database: Database

    async def binding(self, platform: Platform, store_key: str) -> Binding | None:
        return await self.database.fetch_optional_as(
            SERVICE, Binding, BINDING, platform=platform, store_key=store_key
        )

    async def binding_in(
        self, tx: Transaction, platform: Platform, store_key: str
    ) -> Binding | None:
        return await tx.fetch_optional(Binding, BINDING, platform=platform, store_key=store_key)

    async def bind(self, tx: Transaction, purchase: Purchase, user_id: UUID) -> Binding:
        """Binds the purchase to the user unless it is bound; returns the binding."""
        platform, store_key = purchase.product.platform, purchase.store_key
        await tx.execute(
            BIND,
            platform=platform,
            store_key=store_key,
            user_id=user_id,
            product_id=purchase.product.id,
        )
        return await tx.fetch_one(Binding, BINDING, platform=platform, store_key=store_key)

    async def is_user(self, tx: Transaction, user_id: UUID) -> bool:
        return await tx.fetch_value(USER, user_id=user_id)

    async def recent(self, submitted: SubmittedPurchase) -> ValidationRecord | None:
        """The last validation of the same receipt, if younger than ten minutes."""
        return await self.database.fetch_optional_as(
            SERVICE,
            ValidationRecord,
            RECENT,
            platform=submitted.platform,
            receipt_hash=submitted.hash,
        )

    async def record(
        self,
        tx: Transaction,
        user_id: UUID,
        submitted: SubmittedPurchase,
        status: Validation,
        *,
        purchase: Purchase | None,
        ciphertext: bytes | None,
        response: Mapping[str, Any],
        duration_ms: int,
    ) -> None:
        """Adds a line to the history of validations."""
        await tx.execute(
            RECORD,
            user_id=user_id,
            platform=submitted.platform,
            product_id=purchase.product.id if purchase else submitted.product_id or "unknown",
            receipt_hash=submitted.hash,
            transaction_id=purchase.transaction_id if purchase else None,
            store_key=purchase.store_key if purchase else None,
            status=status,
            environment=purchase.environment if purchase else "production",
            expires_at=purchase.period_end if purchase else None,
            ciphertext=ciphertext,
            response=Jsonb(dict(response)),
            duration_ms=duration_ms,
        )

    async def request_acknowledgement(self, tx: Transaction, store_key: str) -> None:
        """Schedules the acknowledgement in a minute."""
        await tx.execute(ACKNOWLEDGE_LATER, store_key=store_key)

    async def acknowledged(self, store_key: str) -> None:
        async with self.database.transaction() as tx:
            await tx.execute(ACKNOWLEDGED, store_key=store_key)

    async def unacknowledged(self, limit: int) -> list[UnacknowledgedPurchase]:
        """Claims purchases that are due. After four days Google has refunded them."""
        async with self.database.transaction() as tx:
            return await tx.fetch_all(UnacknowledgedPurchase, UNACKNOWLEDGED, limit=limit)
