"""SQL of account deletions, in the service role.

`cookcam.features.accounts.personal_data` lists the rows that reference a user; foreign keys delete
them. The statements here count them and remove personal data from rows that must be kept.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, LiteralString
from uuid import UUID

from attrs import field, frozen

from cookcam.database import SERVICE, Database, Jsonb
from cookcam.errors import TransactionConflict
from cookcam.features.accounts.deletion.models import Job, PaidSubscription
from cookcam.features.accounts.personal_data import PERSONAL_ROWS

COLUMNS: LiteralString = """
  id, user_hash, user_id, status, attempts, subscriptions, row_counts, file_counts,
  storage_prefixes, email_ciphertext, requested_at, deleted_at"""

FIND = (
    f"select {COLUMNS} from public.account_deletions where user_hash = any(%(hashes)s)"  # noqa: S608
    " order by requested_at limit 1"
)

REQUEST: LiteralString = """
insert into public.account_deletions (user_hash, user_id, storage_prefixes, email_ciphertext)
values (%(user_hash)s, %(user_id)s, %(prefixes)s, %(email_ciphertext)s)
on conflict (user_hash) do nothing"""

# A transaction lock: it is released when the process ends, also behind a transaction pooler.
TRY_LOCK: LiteralString = "select pg_try_advisory_xact_lock(hashtextextended(%(user_hash)s, 0))"

DUE: LiteralString = """
select user_hash from public.account_deletions
where status <> 'completed' and next_attempt_at <= now()
order by next_attempt_at limit %(limit)s"""

LIVE: LiteralString = """
select provider, provider_subscription_id from public.user_subscriptions
where user_id = %(user_id)s
  and (
    coalesce(superseded_status, status) in ('active', 'trialing', 'past_due')
    or (provider = 'stripe' and status = 'incomplete')
  )
order by created_at limit 1000"""

OPEN_CHECKOUT: LiteralString = """
select (
  select checkout_session_id from public.billing_in_progress
  where user_id = %(user_id)s and checkout_expires_at > now()
)"""

SUBSCRIPTIONS_ENDED: LiteralString = """
update public.account_deletions set subscriptions = %(subscriptions)s
where user_hash = %(user_hash)s and status = 'pending'"""

LOCK: LiteralString = "select from public.users where id = %(user_id)s for update"

_COUNTS: LiteralString = ",\n".join(
    f"(select count(*) from public.{h.table} t where t.{h.column} = %(user_id)s and {h.where})"  # noqa: S608
    for h in PERSONAL_ROWS
)
COUNT = f"select array[{_COUNTS}] as counts"

SCRUB: Sequence[LiteralString] = (
    "delete from public.live_cooking_messages where user_id = %(user_id)s",
    "update public.analytics_events set event_data = '{}', metadata = '{}', session_id = null"
    " where user_id = %(user_id)s",
    "update public.content_reports set details = null where reporter_id = %(user_id)s",
    "update public.content_reports set content = null where author_id = %(user_id)s",
    "delete from public.content_reports where target_type = 'review' and author_id = %(user_id)s"
    " or target_type = 'user' and target_id = %(user_id)s::text",
    "update public.security_events set details = '{}', ip = null, user_agent = null"
    " where user_id = %(user_id)s",
    "update public.iap_validation_history set receipt_ciphertext = null,"
    " validation_response = null where user_id = %(user_id)s",
    "update public.creator_tips set message = null where tipper_id = %(user_id)s",
    "update public.affiliate_conversions set deactivated_at = greatest(now(), converted_at)"
    " where subscriber_id = %(user_id)s and deactivated_at is null",
    # Payloads of provider events about the user; the rows stay, so that no event is applied twice.
    "update public.iap_webhook_logs set payload = null where payload is not null"
    " and (user_id = %(user_id)s or position(%(user_id)s::text in payload::text) > 0)",
    "update public.stripe_webhook_events set payload = null where payload is not null"
    " and (position(%(user_id)s::text in payload::text) > 0"
    " or (payload #>> '{data,object,customer}') in (select s.provider_customer_id"
    " from public.user_subscriptions s where s.user_id = %(user_id)s and s.provider = 'stripe'))",
)

RECORD_BALANCE: LiteralString = """
update public.account_deletions set
  stripe_account_id = (
    select stripe_account_id from public.creator_stripe_accounts where creator_id = %(user_id)s
  ),
  unpaid_balance_cents = public.calculate_creator_unpaid_balance(%(user_id)s)
where user_hash = %(user_hash)s"""

DELETE_USER: LiteralString = "delete from public.users where id = %(user_id)s"

DATA_DELETED: LiteralString = """
update public.account_deletions set status = 'data_deleted', row_counts = %(row_counts)s
where user_hash = %(user_hash)s and status = 'pending'"""

IDENTITY_DELETED: LiteralString = """
update public.account_deletions set status = 'identity_deleted', deleted_at = now()
where user_hash = %(user_hash)s and status = 'data_deleted'"""

COMPLETED: LiteralString = """
update public.account_deletions set
  status = 'completed', completed_at = now(), user_id = null, email_ciphertext = null,
  storage_prefixes = '{}', error_message = null, file_counts = %(file_counts)s
where user_hash = %(user_hash)s and status = 'identity_deleted'"""

RECEIPT_SENT: LiteralString = """
update public.account_deletions set email_ciphertext = null where user_hash = %(user_hash)s"""

POSTPONE: LiteralString = """
update public.account_deletions set
  attempts = least(attempts + 1, 30000), error_message = %(reason)s,
  next_attempt_at = now() + make_interval(secs => %(seconds)s)
where user_hash = %(user_hash)s"""


@frozen
class Due:
    user_hash: str


@frozen
class AccountDeletionStore:
    database: Database = field(repr=False)

    async def find(self, *hashes: str) -> Job | None:
        """The job with one of `hashes`: a user's key under each of the secrets."""
        return await self.database.fetch_optional_as(SERVICE, Job, FIND, hashes=list(hashes))

    async def request(
        self,
        user_hash: str,
        user_id: UUID,
        prefixes: Sequence[str],
        email_ciphertext: bytes | None = None,
    ) -> None:
        """Create the job; an existing job is unchanged."""
        await self._note(
            REQUEST,
            user_hash=user_hash,
            user_id=user_id,
            prefixes=list(prefixes),
            email_ciphertext=email_ciphertext,
        )

    async def due(self, limit: int) -> list[str]:
        """User hashes of jobs whose next attempt is due."""
        rows = await self.database.fetch_all_as(SERVICE, Due, DUE, limit=limit)
        return [row.user_hash for row in rows]

    @asynccontextmanager
    async def locked(self, user_hash: str) -> AsyncGenerator[bool]:
        """Try to lock the job; True when this block holds the lock among all instances."""
        async with self.database.transaction() as tx:
            yield await tx.fetch_value(TRY_LOCK, user_hash=user_hash)

    async def live_subscriptions(self, user_id: UUID) -> list[PaidSubscription]:
        return await self.database.fetch_all_as(SERVICE, PaidSubscription, LIVE, user_id=user_id)

    async def open_checkout(self, user_id: UUID) -> str | None:
        """Id of the checkout session that can still be paid."""
        return await self.database.fetch_value_as(SERVICE, OPEN_CHECKOUT, user_id=user_id)

    async def subscriptions_ended(self, user_hash: str, by_provider: Mapping[str, int]) -> None:
        await self._note(
            SUBSCRIPTIONS_ENDED, user_hash=user_hash, subscriptions=Jsonb(dict(by_provider))
        )

    async def delete_data(self, user_hash: str, user_id: UUID) -> None:
        """Delete the user's rows and record it, in one transaction."""
        async with self.database.transaction() as tx:
            await tx.execute(LOCK, user_id=user_id)
            counts: list[int] = await tx.fetch_value(COUNT, user_id=user_id)
            for statement in SCRUB:
                await tx.execute(statement, user_id=user_id)
            await tx.execute(RECORD_BALANCE, user_hash=user_hash, user_id=user_id)
            await tx.execute(DELETE_USER, user_id=user_id)
            written = await tx.execute(
                DATA_DELETED, user_hash=user_hash, row_counts=Jsonb(_by_effect(counts))
            )
            if not written:
                raise TransactionConflict()

    async def identity_deleted(self, user_hash: str) -> None:
        await self._note(IDENTITY_DELETED, user_hash=user_hash)

    async def receipt_sent(self, user_hash: str) -> None:
        """Forget the address."""
        await self._note(RECEIPT_SENT, user_hash=user_hash)

    async def completed(self, user_hash: str, file_counts: Mapping[str, int]) -> None:
        await self._note(COMPLETED, user_hash=user_hash, file_counts=Jsonb(dict(file_counts)))

    async def postpone(self, user_hash: str, reason: str, seconds: float) -> None:
        await self._note(POSTPONE, user_hash=user_hash, reason=reason, seconds=seconds)

    async def _note(self, statement: LiteralString, **params: Any) -> None:
        async with self.database.transaction() as tx:
            await tx.execute(statement, **params)


def _by_effect(counts: Sequence[int]) -> dict[str, dict[str, int]]:
    """`{"deleted": {table: rows}, "anonymised": {...}}`, without zero counts."""
    result: dict[str, dict[str, int]] = {"deleted": {}, "anonymised": {}}
    for rows, count in zip(PERSONAL_ROWS, counts, strict=True):
        if count:
            result[rows.on_deletion][rows.name] = count
    return result
