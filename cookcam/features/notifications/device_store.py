"""The SQL of devices. A token belongs to one person at a time: whoever registered it last."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from attrs import frozen

from cookcam.database import Database

Platform = Literal["ios", "android"]

MOST = 10
"""Active devices of a person; beyond it those that were not heard of for longest are put aside."""

# Expo's tokens are kept, and say so: neither Apple nor Google knows them.
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

PUT_ASIDE = """
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
        """Takes the token from whoever had it."""
        async with self.database.transaction() as tx:
            await tx.execute(REGISTER, token=token, user_id=user_id, platform=platform)
            await tx.execute(PUT_ASIDE, user_id=user_id, most=MOST)

    async def remove(self, user_id: UUID, token: str) -> None:
        """Forgets the token, if it is this person's."""
        async with self.database.transaction() as tx:
            await tx.execute(REMOVE, token=token, user_id=user_id)
