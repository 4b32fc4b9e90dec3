"""SQL of stored replies, in the service role."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from cookcam.database import Database
from cookcam.features.operations.idempotency.models import (
    Claim,
    KeyedRequest,
    KeyReused,
    Reply,
    StillRunning,
)

# An expired key counts as new, and so does a claim older than five minutes: no request runs longer,
# so its process has ended.
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

STORE = """
update public.idempotency_keys set status_code = %(status)s, response = %(response)s::jsonb
where user_id = %(user_id)s and key = %(key)s and created_at = %(claimed_at)s"""

RELEASE = """
delete from public.idempotency_keys
where user_id = %(user_id)s and key = %(key)s and created_at = %(claimed_at)s"""


@frozen
class ClaimedAt:
    created_at: datetime


@frozen
class StoredKey:
    request_hash: str
    status_code: int | None
    response: object


@frozen
class ReplyStore:
    database: Database

    async def claim(self, keyed_request: KeyedRequest) -> Claim | Reply:
        """Claim the key, or return the stored reply.

        Raises KeyReused for a different request with the key, StillRunning while it is claimed.
        """
        async with self.database.transaction() as tx:
            claimed = await tx.fetch_optional(
                ClaimedAt,
                CLAIM,
                user_id=keyed_request.user_id,
                key=keyed_request.key,
                endpoint=keyed_request.endpoint,
                request_hash=keyed_request.request_hash,
            )
            if claimed is not None:
                return Claim(keyed_request, claimed.created_at)
            stored = await tx.fetch_optional(
                StoredKey, FIND, user_id=keyed_request.user_id, key=keyed_request.key
            )
        if stored is not None and stored.request_hash != keyed_request.request_hash:
            raise KeyReused()
        if stored is None or stored.status_code is None:  # None: released meanwhile
            raise StillRunning()
        return Reply(stored.status_code, stored.response)

    async def store_reply(self, claim: Claim, status: int, body: bytes) -> None:
        """Store the reply unless the claim was lost."""
        async with self.database.transaction() as tx:
            await tx.execute(
                STORE,
                user_id=claim.keyed_request.user_id,
                key=claim.keyed_request.key,
                claimed_at=claim.claimed_at,
                status=status,
                response=body.decode(),
            )

    async def release(self, claim: Claim) -> None:
        """Release the key; the next request with it runs."""
        async with self.database.transaction() as tx:
            await tx.execute(
                RELEASE,
                user_id=claim.keyed_request.user_id,
                key=claim.keyed_request.key,
                claimed_at=claim.claimed_at,
            )
