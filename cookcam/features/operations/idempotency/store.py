"""The SQL of stored replies, as SERVICE: the table is the server's own."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from cookcam.database import Database
from cookcam.features.operations.idempotency.models import (
    Claim,
    Keyed,
    KeyReused,
    Reply,
    StillRunning,
)

# A key that expired counts as new, and so does one whose holder must have died: no request runs for
# five minutes.
CLAIM = """
insert into public.idempotency_keys as k (user_id, key, endpoint, request_hash)
values (%(user_id)s, %(key)s, %(endpoint)s, %(request_hash)s)
on conflict (user_id, key) do update set
  endpoint = excluded.endpoint,
  request_hash = excluded.request_hash,
  status_code = null,
  response = null,
  created_at = clock_timestamp(),
  expires_at = excluded.expires_at
where k.expires_at <= now()
  or (k.status_code is null and k.created_at <= now() - interval '5 minutes')
returning created_at"""

FIND = """
select request_hash, status_code, response from public.idempotency_keys
where user_id = %(user_id)s and key = %(key)s"""

KEEP = """
update public.idempotency_keys set status_code = %(status)s, response = %(response)s::jsonb
where user_id = %(user_id)s and key = %(key)s and created_at = %(claimed_at)s"""

RELEASE = """
delete from public.idempotency_keys
where user_id = %(user_id)s and key = %(key)s and created_at = %(claimed_at)s"""


@frozen
class Claimed:
    created_at: datetime


@frozen
class Found:
    request_hash: str
    status_code: int | None
    response: object


@frozen
class ReplyStore:
    database: Database

    async def claim(self, keyed: Keyed) -> Claim | Reply:
        """The right to answer, or the reply that was given.

        Raises KeyReused for another request under the key, StillRunning while somebody else has
        the right.
        """
        async with self.database.transaction() as tx:
            claimed = await tx.fetch_optional(
                Claimed,
                CLAIM,
                user_id=keyed.user_id,
                key=keyed.key,
                endpoint=keyed.endpoint,
                request_hash=keyed.request_hash,
            )
            if claimed is not None:
                return Claim(keyed, claimed.created_at)
            found = await tx.fetch_optional(Found, FIND, user_id=keyed.user_id, key=keyed.key)
        if found is not None and found.request_hash != keyed.request_hash:
            raise KeyReused()
        if found is None or found.status_code is None:  # None: given up this very moment
            raise StillRunning()
        return Reply(found.status_code, found.response)

    async def keep(self, claim: Claim, status: int, body: bytes) -> None:
        """Stores the reply, unless somebody else has the right by now."""
        async with self.database.transaction() as tx:
            await tx.execute(
                KEEP,
                user_id=claim.keyed.user_id,
                key=claim.keyed.key,
                claimed_at=claim.claimed_at,
                status=status,
                response=body.decode(),
            )

    async def release(self, claim: Claim) -> None:
        """Gives the right back: the next request under the key is the first again."""
        async with self.database.transaction() as tx:
            await tx.execute(
                RELEASE,
                user_id=claim.keyed.user_id,
                key=claim.keyed.key,
                claimed_at=claim.claimed_at,
            )
