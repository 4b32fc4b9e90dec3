"""Deletion of accounts.

A job in `account_deletions` records the progress. Each step is idempotent and recorded,
so that any instance can continue the job after a crash or an outage:

| status | next step |
|---|---|
| `pending` | cancel paid subscriptions; their ids are in the rows that are deleted next |
| | delete all rows, in the transaction that also writes `data_deleted` |
| `data_deleted` | delete the identity; the job's row prevents a new profile until then |
| `identity_deleted` | mail the receipt, then forget the address |
| | delete files; without the identity no new ones can be uploaded |
| `completed` | none |

Success is reported only when data and identity are deleted (docs/accounts.md).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

import structlog
import trio
from attrs import define, field

from cookcam.errors import (
    AppError,
    AuthenticationError,
    EmailNotConfirmed,
    InvalidCredentials,
    NotFound,
    ServiceUnavailable,
    ValidationError,
)
from cookcam.features.accounts.deletion.models import DeletionResult, Job
from cookcam.features.accounts.deletion.receipts import Receipts
from cookcam.features.accounts.deletion.store import AccountDeletionStore
from cookcam.features.accounts.personal_data import FOLDERS
from cookcam.features.accounts.service import Profiles
from cookcam.features.messaging.mail.templates import render
from cookcam.identity import Identity
from cookcam.integrations.mail import MailRejected, MailService
from cookcam.integrations.provider_calls import ProviderUnavailable
from cookcam.integrations.supabase.client import SupabaseAuth
from cookcam.integrations.supabase.storage import BUCKETS, Storage
from cookcam.lifecycle.background import run_periodically

INTERACTIVE_RETRIES: Final = 15.0
"""Seconds a request waits for its job; the password check may take eight more."""
INTERVAL: Final = 5.0
"""Seconds between two queries for due jobs."""
BATCH_SIZE: Final = 20
FIRST_RETRY_DELAY: Final = 2.0
MAX_RETRY_DELAY: Final = 900.0
"""Seconds until the retry of a failed job: doubled each time, with jitter."""
MAX_MAIL_ATTEMPTS: Final = 20
"""Some hours; then the deletion continues without the mail, and the address is deleted."""

log = structlog.get_logger(__name__)


class SubscriptionCanceller(Protocol):
    """A payment provider whose subscriptions can be cancelled."""

    async def cancel(self, subscription_id: str) -> None:
        """Cancel a subscription immediately; an ended one is no error. Raises AppError."""
        ...

    async def close_checkout(self, session_id: str) -> None:
        """Expire a checkout session; an expired one is no error. Raises AppError."""
        ...


class DeletionInProgress(ServiceUnavailable):
    """The deletion is not finished; it continues in the background."""

    code = "DELETION_UNDER_WAY"
    default_message = (
        "Your account is being deleted. This is taking longer than usual and will finish by itself."
    )


class WrongPassword(AuthenticationError):
    default_message = "Invalid password"


@define(eq=False)
class AccountDeletion:
    """`cancellers` by provider name in `user_subscriptions`; app stores cannot be cancelled by the
    server. `close` ends the live connections of a user."""

    _store: AccountDeletionStore
    _profiles: Profiles
    _provider: SupabaseAuth
    _storage: Storage
    _cancellers: Mapping[str, SubscriptionCanceller]
    _receipts: Receipts
    _mail: MailService | None
    _close: Callable[[UUID], object]
    # A job holds one database connection for its lock and needs another one for its steps. One
    # job at a time: two jobs could wait for each other's connections.
    _one_at_a_time: trio.Lock = field(factory=trio.Lock, init=False)

    async def delete(self, caller: Identity, password: str) -> DeletionResult:
        """Delete the caller's account; returns when data and identity are deleted.

        Raises WrongPassword, NotFound for an unknown account, DeletionInProgress (503) when a
        provider does not respond in time: the job then finishes in the background. A repeated
        call finds the job and needs no password: the identity that could check it may be deleted.
        """
        hashes = self._receipts.hashes_of(caller.user_id)
        job = await self._store.find(*hashes)
        user_hash = hashes[0] if job is None else job.user_hash
        if job is None:
            email = await self._confirm(caller, password)
            address = None
            if self._mail is not None:
                address = self._receipts.seal_address(email, user_hash)
            prefixes = _prefixes(caller.user_id)
            await self._store.request(user_hash, caller.user_id, prefixes, address)
            self._close(caller.user_id)
            log.info("account deletion requested")
        with trio.move_on_after(INTERACTIVE_RETRIES):
            await self._advance(user_hash)
        job = await self._store.find(user_hash)
        if job is None or job.deleted_at is None:
            raise DeletionInProgress(error="Account deletion is under way")
        return DeletionResult(job.deleted_at, self._receipts.sign(job))

    async def requested_at(self, user_id: UUID) -> datetime | None:
        """When the deletion of the account was requested; None if it was not."""
        job = await self._store.find(*self._receipts.hashes_of(user_id))
        return None if job is None else job.requested_at

    async def run(self) -> None:
        """Background task: continue due jobs."""
        await run_periodically(self._advance_due, INTERVAL, at_once=True)

    async def _advance_due(self) -> None:
        for user_hash in await self._store.due(BATCH_SIZE):
            await self._advance(user_hash)

    async def _confirm(self, caller: Identity, password: str) -> str:
        """Check the password by signing in; returns the address of the account.

        The session is deleted with the account.
        """
        try:
            profile = await self._profiles.of(caller)
        except NotFound:
            raise NotFound("User not found", error="User not found") from None
        if not profile.email:
            raise WrongPassword(error="Invalid password")
        try:
            session = await self._provider.sign_in(profile.email, password)
        except EmailNotConfirmed:
            return profile.email  # the password was correct
        except InvalidCredentials:
            log.warning("auth_failure", reason="account deletion with a wrong password")
            raise WrongPassword(error="Invalid password") from None
        if session.user.id != caller.user_id:
            raise WrongPassword(error="Invalid password")
        return profile.email

    async def _advance(self, user_hash: str) -> None:
        """Run the remaining steps of a job. A failure is logged and postpones the job."""
        async with self._one_at_a_time, self._store.locked(user_hash) as locked:
            if not locked:
                return  # another instance works on it
            job = await self._store.find(user_hash)
            try:
                while job is not None and job.user_id is not None:
                    await self._step(job, job.user_id)
                    job = await self._store.find(user_hash)
            except AppError as error:
                attempts = 0 if job is None else job.attempts
                log.warning(
                    "account deletion postponed",
                    deletion=None if job is None else str(job.id),
                    status=None if job is None else job.status,
                    code=error.code,
                )
                await self._store.postpone(user_hash, error.code, _retry_delay(attempts))

    async def _step(self, job: Job, user_id: UUID) -> None:
        if job.status in ("pending", "failed"):
            if job.subscriptions is None:
                await self._end_subscriptions(job, user_id)
            await self._store.delete_data(job.user_hash, user_id)
            self._close(user_id)
        elif job.status == "data_deleted":
            await self._provider.admin_delete_user(user_id)
            await self._store.identity_deleted(job.user_hash)
            log.info("account deleted", deletion=str(job.id))
        else:
            if job.email_ciphertext is not None:
                await self._mail_receipt(job, job.email_ciphertext)
            await self._store.completed(job.user_hash, await self._delete_files(job))

    async def _mail_receipt(self, job: Job, ciphertext: bytes) -> None:
        """Mail the receipt, at least once. Raises ProviderUnavailable, up to MAX_MAIL_ATTEMPTS."""
        address = self._receipts.open_address(ciphertext, job.user_hash)
        if self._mail is not None and address is not None and job.deleted_at is not None:
            at = f"{job.deleted_at.day} {job.deleted_at:%B %Y}"
            receipt = self._receipts.sign(job)
            mail = render("account_deleted", str(job.id), address, at=at, receipt=receipt)
            try:
                await self._mail.send(mail)
            except MailRejected as rejection:
                log.warning("deletion receipt rejected", reason=rejection.reason)
            except ProviderUnavailable:
                if job.attempts < MAX_MAIL_ATTEMPTS:
                    raise
                log.error("deletion receipt not mailed", deletion=str(job.id))
        await self._store.receipt_sent(job.user_hash)

    async def _end_subscriptions(self, job: Job, user_id: UUID) -> None:
        results: Counter[str] = Counter()
        session_id = await self._store.open_checkout(user_id)
        if session_id is not None and "stripe" in self._cancellers:
            await self._cancellers["stripe"].close_checkout(session_id)
        for paid in await self._store.live_subscriptions(user_id):
            if paid.provider not in self._cancellers or paid.provider_subscription_id is None:
                results[f"{paid.provider} left to its owner"] += 1
                continue
            await self._cancellers[paid.provider].cancel(paid.provider_subscription_id)
            results[f"{paid.provider} cancelled"] += 1
        await self._store.subscriptions_ended(job.user_hash, results)

    async def _delete_files(self, job: Job) -> Mapping[str, int]:
        counts: dict[str, int] = {}
        for bucket in BUCKETS:
            for prefix in job.storage_prefixes:
                if not prefix.startswith(f"{bucket}/"):
                    continue
                keys = await self._storage.list(bucket, prefix.removeprefix(f"{bucket}/"))
                if keys:
                    await self._storage.delete(bucket, keys)
                    counts[bucket] = counts.get(bucket, 0) + len(keys)
        return counts


def checked_password(password: str) -> str:
    """The password. Raises ValidationError for an empty one."""
    if not password:
        message = "Password confirmation is required"
        raise ValidationError(message, error=message)
    return password


def _prefixes(user_id: UUID) -> Sequence[str]:
    """Storage prefixes of a user: `{bucket}/{folder}/{userId}`."""
    return [f"{bucket}/{folder}/{user_id}" for bucket, folder in FOLDERS.items()]


def _retry_delay(attempts: int) -> float:
    max_length = min(MAX_RETRY_DELAY, FIRST_RETRY_DELAY * 2 ** min(attempts, 20))
    return max_length * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
