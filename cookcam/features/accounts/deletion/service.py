"""Deleting an account for good.

A job in `account_deletions` is the truth about how far it is. Each step can be done twice, and is
noted when it is done, so that whoever finds the job, after a crash or an outage, goes on with it:

| status | next step |
|---|---|
| `pending` | what is still being paid for is cancelled: the ids are in the rows that go next |
| | all rows, in the one transaction that also writes `data_deleted` |
| `data_deleted` | the identity; until then nobody can make a new profile for it |
| `identity_deleted` | files, when nobody is left who could upload another |
| `completed` | none |

Nothing claims success before data and identity are gone. Source: `spec/operations.md` §14,
`spec/http-api-core.md` §6.8.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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
from cookcam.features.accounts.deletion.models import Deleted, Job
from cookcam.features.accounts.deletion.receipts import Receipts
from cookcam.features.accounts.deletion.store import ErasureStore
from cookcam.features.accounts.personal_data import FOLDERS
from cookcam.features.accounts.service import Profiles
from cookcam.identity import Identity
from cookcam.integrations.supabase.client import SupabaseAuth
from cookcam.integrations.supabase.storage import BUCKETS, Storage
from cookcam.lifecycle.background import run_periodically

INTERACTIVE_RETRIES: Final = 15.0
"""Seconds a request stays with its job; the password has taken up to eight before."""
INTERVAL: Final = 5.0
"""Seconds between two looks for jobs that are due."""
AT_ONCE: Final = 20
FIRST_RETRY_DELAY: Final = 2.0
MAX_RETRY_DELAY: Final = 900.0
"""Seconds until a job that failed is tried again: doubled each time, with jitter."""

log = structlog.get_logger(__name__)


class Cancels(Protocol):
    """A payment provider that can be told to stop charging."""

    async def cancel(self, subscription_id: str) -> None:
        """Ends a subscription at once; one that has ended is no error. Raises AppError."""
        ...

    async def close_checkout(self, session_id: str) -> None:
        """Closes the page of a purchase; one that is closed is no error. Raises AppError."""
        ...


class DeletionUnderWay(ServiceUnavailable):
    """Not everything is gone yet. Nobody has to ask again for it to go on."""

    code = "DELETION_UNDER_WAY"
    default_message = (
        "Your account is being deleted. This is taking longer than usual and will finish by itself."
    )


class WrongPassword(AuthenticationError):
    default_message = "Invalid password"


@define(eq=False)
class Erasure:
    """`cancels` are the providers that we can stop, by their name in `user_subscriptions`; app
    stores are not among them. `close` ends the live connections of a user."""

    _store: ErasureStore
    _profiles: Profiles
    _provider: SupabaseAuth
    _storage: Storage
    _cancels: Mapping[str, Cancels]
    _receipts: Receipts
    _close: Callable[[UUID], object]
    # A job holds a connection for its turn and needs another one for its work: one at a time, so
    # that jobs never wait for each other's connections.
    _one_at_a_time: trio.Lock = field(factory=trio.Lock, init=False)

    async def erase(self, caller: Identity, password: str) -> Deleted:
        """Deletes the caller's account, and returns when data and identity are gone.

        Raises WrongPassword, NotFound when there is no such account, DeletionUnderWay (503) when
        something does not answer: the job stays, and finishes without the caller. A repetition
        finds the job, whatever became of it, and needs no password for that: there may be no one
        left to ask.
        """
        user_hash = self._receipts.hash_of(caller.user_id)
        if await self._store.find(user_hash) is None:
            await self._confirm(caller, password)
            await self._store.request(user_hash, caller.user_id, _prefixes(caller.user_id))
            self._close(caller.user_id)
            log.info("account deletion requested")
        with trio.move_on_after(INTERACTIVE_RETRIES):
            await self._go_on(user_hash)
        job = await self._store.find(user_hash)
        if job is None or job.deleted_at is None:
            raise DeletionUnderWay(error="Account deletion is under way")
        return Deleted(job.deleted_at, self._receipts.sign(job))

    async def run(self) -> None:
        """Background task: goes on with jobs that nobody works on."""
        await run_periodically(self._go_on_with_due, INTERVAL, at_once=True)

    async def _go_on_with_due(self) -> None:
        for user_hash in await self._store.due(AT_ONCE):
            await self._go_on(user_hash)

    async def _confirm(self, caller: Identity, password: str) -> None:
        """Signs in, in a session of nobody's, which goes with the account."""
        try:
            profile = await self._profiles.of(caller)
        except NotFound:
            raise NotFound("User not found", error="User not found") from None
        if not profile.email:
            raise WrongPassword(error="Invalid password")
        try:
            session = await self._provider.sign_in(profile.email, password)
        except EmailNotConfirmed:
            return  # said to who knows the password only
        except InvalidCredentials:
            log.warning("auth_failure", reason="account deletion with a wrong password")
            raise WrongPassword(error="Invalid password") from None
        if session.user.id != caller.user_id:
            raise WrongPassword(error="Invalid password")

    async def _go_on(self, user_hash: str) -> None:
        """Takes a job as far as it goes. What stops it is noted and logged, and not raised."""
        async with self._one_at_a_time, self._store.turn(user_hash) as mine:
            if not mine:
                return  # another instance is at it
            job = await self._store.find(user_hash)
            try:
                while job is not None and job.user_id is not None:
                    await self._step(job, job.user_id)
                    job = await self._store.find(user_hash)
            except AppError as error:
                attempts = 0 if job is None else job.attempts
                log.warning(
                    "account deletion waits",
                    deletion=None if job is None else str(job.id),
                    status=None if job is None else job.status,
                    code=error.code,
                )
                await self._store.postpone(user_hash, error.code, _pause(attempts))

    async def _step(self, job: Job, user_id: UUID) -> None:
        if job.status in ("pending", "failed"):
            if job.subscriptions is None:
                await self._end_subscriptions(job, user_id)
            await self._store.erase(job.user_hash, user_id)
            self._close(user_id)
        elif job.status == "data_deleted":
            await self._provider.admin_delete_user(user_id)
            await self._store.identity_deleted(job.user_hash)
            log.info("account deleted", deletion=str(job.id))
        else:
            await self._store.completed(job.user_hash, await self._delete_files(job))

    async def _end_subscriptions(self, job: Job, user_id: UUID) -> None:
        told: Counter[str] = Counter()
        session_id = await self._store.open_checkout(user_id)
        if session_id is not None and "stripe" in self._cancels:
            await self._cancels["stripe"].close_checkout(session_id)
        for paid in await self._store.live_subscriptions(user_id):
            if paid.provider not in self._cancels or paid.provider_subscription_id is None:
                told[f"{paid.provider} left to its owner"] += 1
                continue
            await self._cancels[paid.provider].cancel(paid.provider_subscription_id)
            told[f"{paid.provider} cancelled"] += 1
        await self._store.subscriptions_ended(job.user_hash, told)

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


def checked_password(given: str) -> str:
    """Raises ValidationError where there is none."""
    if not given:
        words = "Password confirmation is required"
        raise ValidationError(words, error=words)
    return given


def _prefixes(user_id: UUID) -> Sequence[str]:
    """Where files of a user are: `{bucket}/{folder}/{userId}`."""
    return [f"{bucket}/{folder}/{user_id}" for bucket, folder in FOLDERS.items()]


def _pause(attempts: int) -> float:
    longest = min(MAX_RETRY_DELAY, FIRST_RETRY_DELAY * 2 ** min(attempts, 20))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
