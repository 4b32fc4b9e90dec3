"""Notices sign-ins from places where the user has not signed in before.

A place is a network: the /24 of an IPv4 address, the /48 of an IPv6 address. Only a keyed hash of
it is stored. Sign-ins directly at the identity provider bypass this.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog
from attrs import field, frozen

from cookcam.config.secret import Secret
from cookcam.database import Database
from cookcam.errors import AppError, ForeignKeyError
from cookcam.features.messaging.notifications.messages import new_sign_in
from cookcam.features.messaging.notifications.queue_store import QueueStore

DEVICES: Final = (
    ("iPhone", "an iPhone"),
    ("iPad", "an iPad"),
    ("Android", "an Android device"),
    ("Macintosh", "a Mac"),
    ("Windows", "a Windows computer"),
    ("Linux", "a Linux computer"),
)
"""What a User-Agent contains, and its name in a mail."""

# Returns whether the place is new for a user who has signed in elsewhere before.
RECORD = """
with known as (select from public.sign_in_places where user_id = %(user_id)s limit 1),
recorded as (
  insert into public.sign_in_places as p (user_id, place_hash)
  values (%(user_id)s, %(place)s)
  on conflict (user_id, place_hash) do update set last_at = now()
  returning p.first_at = p.last_at as added
)
select recorded.added and exists (select from known) and not exists (
  select from public.sign_in_places
  where user_id = %(user_id)s and place_hash = any(%(previous)s)
) from recorded"""


@frozen
class SignInPlaces:
    """`secrets` are the keys of the hashes; the first is current. A place that was recorded with
    another key is not new: after a rotation of the key no user gets a notice."""

    database: Database
    notifications: QueueStore
    secrets: Sequence[Secret] = field(repr=False)
    now: Callable[[], datetime] = field(repr=False)

    async def record(self, user_id: UUID, address: str, user_agent: str) -> None:
        """Record a sign-in, and notify the user if its place is new.

        The first place of a user is not notified. A failure is logged and does not fail the
        sign-in.
        """
        place, *previous = (_hash(secret, user_id, address) for secret in self.secrets)
        try:
            async with self.database.transaction() as tx:
                if await tx.fetch_value(RECORD, user_id=user_id, place=place, previous=previous):
                    now = self.now()
                    key = f"{place[:16]}:{now:%Y-%m-%d}"
                    notices = new_sign_in(user_id, _device(user_agent), key, now)
                    await self.notifications.add(tx, notices)
        except ForeignKeyError:
            pass  # no profile yet
        except AppError as error:
            structlog.get_logger(__name__).warning("sign-in place not recorded", code=error.code)


def _hash(secret: Secret, user_id: UUID, address: str) -> str:
    place = f"cookcam sign-in place {user_id} {_network(address)}"
    return hmac.new(secret.reveal().encode(), place.encode(), hashlib.sha256).hexdigest()


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    length = 24 if parsed.version == 4 else 48
    return str(ipaddress.ip_network((parsed, length), strict=False))


def _device(user_agent: str) -> str | None:
    return next((name for part, name in DEVICES if part in user_agent), None)
