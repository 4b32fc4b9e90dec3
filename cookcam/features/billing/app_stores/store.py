"""The SQL of purchases: bindings, the history of validations, the inbox of notifications.

All of it is the server's own; users see none of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import SERVICE, Database, Jsonb, Transaction
from cookcam.features.billing.app_stores.models import (
    Binding,
    Claim,
    Purchase,
    Recorded,
    Submitted,
    Unacknowledged,
    Validation,
    Waiting,
)
from cookcam.features.billing.stripe.products import Platform

BINDING: LiteralString = """
select user_id from public.iap_receipt_bindings
where platform = %(platform)s and store_key = %(store_key)s"""

# Waits for whoever binds the same purchase at this moment.
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

CLAIM: LiteralString = """
select public.claim_iap_notification(%(platform)s, %(id)s, %(kind)s, %(payload)s)"""

DONE: LiteralString = """
update public.iap_webhook_logs set
  status = %(status)s, processed_at = now(), subtype = %(subtype)s, store_key = %(store_key)s,
  user_id = %(user_id)s, error_message = null
where platform = %(platform)s and notification_id = %(id)s"""

# The pause doubles, from half a minute to about four hours.
FAILED: LiteralString = """
update public.iap_webhook_logs set
  status = 'failed', error_message = %(reason)s,
  next_attempt_at = now() + interval '15 seconds' * power(2, attempts)
where platform = %(platform)s and notification_id = %(id)s and status = 'processing'"""

WAITING: LiteralString = """
select platform, notification_id, notification_type, payload from public.iap_webhook_logs
where status in ('processing', 'failed') and attempts < 10 and payload is not null
  and coalesce(next_attempt_at, claimed_at + interval '5 minutes') <= now()
order by received_at limit %(limit)s"""

DOCUMENTED_AS_REQUIRED: LiteralString = """
update public.iap_receipt_bindings set acknowledge_at = now() + interval '1 minute'
where platform = 'android' and store_key = %(store_key)s"""

ACKNOWLEDGED: LiteralString = """
update public.iap_receipt_bindings set acknowledge_at = null
where platform = 'android' and store_key = %(store_key)s"""

# Taken from the others by moving their time on: whoever dies with them leaves them for later.
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
        """Whose it is from now on: the user's, unless it was bound before."""
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

    async def recent(self, submitted: Submitted) -> Recorded | None:
        """What was found of the same receipt in the last ten minutes."""
        return await self.database.fetch_optional_as(
            SERVICE, Recorded, RECENT, platform=submitted.platform, receipt_hash=submitted.hash
        )

    async def record(
        self,
        tx: Transaction,
        user_id: UUID,
        submitted: Submitted,
        status: Validation,
        *,
        purchase: Purchase | None,
        ciphertext: bytes | None,
        response: Mapping[str, Any],
        duration_ms: int,
    ) -> None:
        """A line of the history, which is only ever added to."""
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

    async def claim(
        self, platform: Platform, notification_id: str, kind: str, payload: Mapping[str, Any]
    ) -> Claim:
        """Who works on a notification; committed when this returns."""
        async with self.database.transaction() as tx:
            return await tx.fetch_value(
                CLAIM,
                platform=platform,
                id=notification_id,
                kind=kind,
                payload=Jsonb(dict(payload)),
            )

    async def done(
        self,
        tx: Transaction,
        platform: Platform,
        notification_id: str,
        *,
        ignored: bool = False,
        subtype: str | None = None,
        store_key: str | None = None,
        user_id: UUID | None = None,
    ) -> None:
        await tx.execute(
            DONE,
            platform=platform,
            id=notification_id,
            status="ignored" if ignored else "processed",
            subtype=subtype,
            store_key=store_key,
            user_id=user_id,
        )

    async def failed(self, platform: Platform, notification_id: str, reason: str) -> None:
        async with self.database.transaction() as tx:
            await tx.execute(FAILED, platform=platform, id=notification_id, reason=reason)

    async def waiting(self, limit: int) -> list[Waiting]:
        """Notifications whose time has come again."""
        return await self.database.fetch_all_as(SERVICE, Waiting, WAITING, limit=limit)

    async def want_acknowledgement(self, tx: Transaction, store_key: str) -> None:
        """A minute from now, unless somebody does it before."""
        await tx.execute(DOCUMENTED_AS_REQUIRED, store_key=store_key)

    async def acknowledged(self, store_key: str) -> None:
        async with self.database.transaction() as tx:
            await tx.execute(ACKNOWLEDGED, store_key=store_key)

    async def unacknowledged(self, limit: int) -> list[Unacknowledged]:
        """Those that are due, taken by whoever asks. After four days Google has refunded them."""
        async with self.database.transaction() as tx:
            return await tx.fetch_all(Unacknowledged, UNACKNOWLEDGED, limit=limit)
