"""The SQL of devices. A token belongs to one user at a time: the last one to register it."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from attrs import frozen

from cookcam.database import Database

Platform = Literal["ios", "android"]

MAX_ACTIVE_DEVICES = 10
"""Active devices per user; the least recently registered ones beyond it are deactivated."""

# Expo tokens are stored with their own provider: neither APNs nor FCM accepts them.
REGISTER = """
insert into public.device_tokens as d (token, user_id, platform, provider)
values (
  %(token)s, %(user_id)s, %(platform)s,
  case
    when %(token)s ~ '^Expo(nent)?PushToken' then 'expo'
    when %(platform)s = 'ios' then 'apns'
    else 'fcm'
  end
)
on conflict (token) do update set
  user_id = excluded.user_id,
  platform = excluded.platform,
  provider = excluded.provider,
  active = true"""

DEACTIVATE_OLDEST = """
update public.device_tokens set active = false
where token in (
  select token from public.device_tokens
  where user_id = %(user_id)s and active
  order by updated_at desc, token
  offset %(most)s
)"""

REMOVE = "delete from public.device_tokens where token = %(token)s and user_id = %(user_id)s"


@frozen
class DeviceStore:
    database: Database

    async def register(self, user_id: UUID, token: str, platform: Platform) -> None:
        """Registers the token for the user, and removes it from another user."""
        async with self.database.transaction() as tx:
            await tx.execute(REGISTER, token=token, user_id=user_id, platform=platform)
            await tx.execute(DEACTIVATE_OLDEST, user_id=user_id, most=MAX_ACTIVE_DEVICES)

    async def remove(self, user_id: UUID, token: str) -> None:
        """Deletes the token if it belongs to the user."""
        async with self.database.transaction() as tx:
            await tx.execute(REMOVE, token=token, user_id=user_id)
