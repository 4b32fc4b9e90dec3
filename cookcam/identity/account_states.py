"""The state of the account behind a token: active, banned or deleted; and its tier.

A token outlives its account by up to its own lifetime, so each check of a token also looks at the
account. The state is cached for `TTL` seconds and dropped at once when the database announces a
ban or a deletion (`cookcam.realtime.accounts`).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Literal, LiteralString
from uuid import UUID

import trio
from attrs import define, field, frozen

from cookcam.database import SERVICE, Database
from cookcam.errors import AppError, TokenExpired
from cookcam.observability.logging import get_logger

log = get_logger(__name__)

TTL: Final = 10.0
"""Seconds. The maximum delay of a ban while announcements do not arrive, and of the end of a ban,
which is not announced."""
MAX_ENTRIES: Final = 20_000
"""Accounts, about 6 MB; the least recently used is dropped first."""

FREE: Final = 1
"""The id of the free tier."""

AccountState = Literal["active", "banned", "deleted"]

READ: LiteralString = """
select public.account_state(%(user_id)s) as state, public.user_tier_id(%(user_id)s) as tier_id"""


@define(slots=False, eq=False)
class AccountClosed(TokenExpired):
    """The token is valid, but its account is banned or deleted.

    On the wire it is what the identity provider's own refusal of the token is: 401 TOKEN_EXPIRED.
    """

    state: AccountState = field(default="deleted", kw_only=True)


@frozen
class _StateRow:
    state: AccountState
    tier_id: int = FREE


@frozen
class _Entry:
    state: AccountState
    tier_id: int
    read_at: float


@define(eq=False)
class _Lookup:
    """A read in progress, shared by all requests of the user that wait for it."""

    done: trio.Event = field(factory=trio.Event)
    state: AccountState | None = None
    error: AppError | None = None


@define(eq=False)
class AccountStates:
    """Reads and caches account states; one read at a time for each user."""

    _database: Database
    _entries: OrderedDict[UUID, _Entry] = field(factory=OrderedDict[UUID, _Entry], init=False)
    _lookups: dict[UUID, _Lookup] = field(factory=dict[UUID, _Lookup], init=False)

    async def state_of(self, user_id: UUID) -> AccountState:
        """The state of an account, at most `TTL` seconds old while the database answers.

        While it does not answer, the state last read is used; raises AppError (503) for an account
        whose state was never read.
        """
        while True:
            entry = self._entries.get(user_id)
            if entry is not None and trio.current_time() - entry.read_at < TTL:
                self._entries.move_to_end(user_id)
                return entry.state
            lookup = self._lookups.get(user_id)
            if lookup is None:
                return await self._read(user_id, entry)
            await lookup.done.wait()
            if lookup.state is not None:
                return lookup.state
            if lookup.error is not None:
                raise type(lookup.error)()
            # The request that was reading is cancelled: this one reads.

    def tier_of(self, user_id: UUID) -> int:
        """The id of the user's tier when the state was last read; FREE if it never was."""
        entry = self._entries.get(user_id)
        return FREE if entry is None else entry.tier_id

    def forget(self, user_id: UUID) -> None:
        """Drops the state of an account; a read in progress is not cached."""
        self._entries.pop(user_id, None)
        self._lookups.pop(user_id, None)

    def forget_all(self) -> None:
        """Drops every state: announcements may have been missed."""
        self._entries.clear()
        self._lookups.clear()

    def __len__(self) -> int:
        return len(self._entries)

    async def _read(self, user_id: UUID, previous: _Entry | None) -> AccountState:
        lookup = self._lookups[user_id] = _Lookup()
        read_at = trio.current_time()
        try:
            row = await self._database.fetch_one_as(SERVICE, _StateRow, READ, user_id=user_id)
        except AppError as error:
            if previous is None:
                lookup.error = error
                raise
            log.debug("account state not read", code=error.code)
            lookup.state = previous.state
        else:
            lookup.state = row.state
            if self._lookups.get(user_id) is lookup:
                self._store(user_id, _Entry(row.state, row.tier_id, read_at))
        finally:
            if self._lookups.get(user_id) is lookup:
                del self._lookups[user_id]
            lookup.done.set()
        return lookup.state

    def _store(self, user_id: UUID, entry: _Entry) -> None:
        self._entries[user_id] = entry
        self._entries.move_to_end(user_id)
        if len(self._entries) > MAX_ENTRIES:
            self._entries.popitem(last=False)
