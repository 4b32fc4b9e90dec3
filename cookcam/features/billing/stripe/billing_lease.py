"""One change of a user's billing at a time, on all instances, without holding a connection.

A lease is a row with an expiry time, so that the lease of a killed request expires. The row also
has the user's open checkout session.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final, LiteralString
from uuid import UUID, uuid4

import trio
from attrs import field, frozen

from cookcam.database import SERVICE, Database
from cookcam.errors import AuthorizationError, Conflict

LEASE_SECONDS: Final = 40.0
"""Longer than a request may take."""
WAIT_TIMEOUT: Final = 8.0
RELEASE_TIMEOUT: Final = 2.0

CLOSED: LiteralString = """
select not exists (select from public.users where id = %(user_id)s)
  or exists (select from public.closed_accounts(array[%(user_id)s::uuid]))
  or exists (select from public.account_deletions where user_id = %(user_id)s)"""

ACQUIRE: LiteralString = """
insert into public.billing_in_progress as b (user_id, lease_token, leased_until)
select id, %(token)s, now() + make_interval(secs => %(seconds)s)
from public.users where id = %(user_id)s
on conflict (user_id) do update set
  lease_token = excluded.lease_token, leased_until = excluded.leased_until
where b.leased_until is null or b.leased_until <= now()
returning b.lease_token as token, b.user_id, b.checkout_session_id as session_id,
  b.checkout_wish as order_hash, b.checkout_expires_at as expires_at"""

RELEASE: LiteralString = """
update public.billing_in_progress set lease_token = null, leased_until = null
where user_id = %(user_id)s and lease_token = %(token)s"""

KEEP_SESSION: LiteralString = """
update public.billing_in_progress set
  checkout_session_id = %(session_id)s, checkout_wish = %(order_hash)s,
  checkout_expires_at = %(expires_at)s
where user_id = %(user_id)s and lease_token = %(token)s"""


class AccountClosed(AuthorizationError):
    """The account is deleted, being deleted, or banned: nothing may be charged for it."""

    code, default_message = "ACCOUNT_CLOSED", "This account is closed"


class BillingBusy(Conflict):
    """Another request changes the user's billing."""

    default_message = "Another change of your subscription is under way, please try again"


@frozen
class Lease:
    """The right to change a user's billing, with the latest checkout session."""

    token: UUID
    user_id: UUID
    session_id: str | None
    order_hash: str | None
    expires_at: datetime | None


async def require_open(database: Database, user_id: UUID) -> None:
    """Raises AccountClosed."""
    if await database.fetch_value_as(SERVICE, CLOSED, user_id=user_id):
        raise AccountClosed()


@frozen
class BillingLeases:
    database: Database = field(repr=False)

    @asynccontextmanager
    async def of(self, user_id: UUID) -> AsyncGenerator[Lease]:
        """Holds the lease of a user during the block; waits for the current holder.

        Raises AccountClosed, and BillingBusy (409) after `WAIT_TIMEOUT`.
        """
        lease = await self._acquire(user_id)
        try:
            yield lease
        finally:
            with trio.move_on_after(RELEASE_TIMEOUT, shield=True):
                async with self.database.transaction() as tx:
                    await tx.execute(RELEASE, user_id=user_id, token=lease.token)

    async def store_session(
        self, lease: Lease, session_id: str, order_hash: str, expires_at: datetime
    ) -> bool:
        """Stores the open session. False if the lease has expired, or its user was deleted."""
        async with self.database.transaction() as tx:
            written = await tx.execute(
                KEEP_SESSION,
                user_id=lease.user_id,
                token=lease.token,
                session_id=session_id,
                order_hash=order_hash,
                expires_at=expires_at,
            )
        return written > 0

    async def _acquire(self, user_id: UUID) -> Lease:
        token, delay = uuid4(), 0.02
        deadline = trio.current_time() + WAIT_TIMEOUT
        while True:
            await require_open(self.database, user_id)
            async with self.database.transaction() as tx:
                lease = await tx.fetch_optional(
                    Lease, ACQUIRE, user_id=user_id, token=token, seconds=LEASE_SECONDS
                )
            if lease is not None:
                return lease
            if trio.current_time() >= deadline:
                raise BillingBusy()
            await trio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            delay = min(0.5, delay * 2)
