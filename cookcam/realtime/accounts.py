"""Accounts that end: a banned or deleted account's connections are closed within a second, and its
cached state (`cookcam.identity.account_states`) is dropped.

The database tells. Triggers announce every ban and every deletion, whoever decided it, and each
instance listens for itself, whichever bus carries the rest. What is announced while nobody
listens, or before a connection is open, is found by asking: every connection is looked up once
after it was opened, and all of them whenever the listening begins anew. That also finds the one
who comes back with a token that is still good. Source: `spec/realtime.md` §2.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final
from uuid import UUID

import structlog
import trio
from attrs import define, field, frozen
from psycopg import Notify

from cookcam.database import SERVICE, Database
from cookcam.errors import AppError
from cookcam.identity import AccountStates
from cookcam.realtime.bus.listening import Listening
from cookcam.realtime.closing import CloseCode
from cookcam.realtime.connection import Connection
from cookcam.realtime.hub import Hub

CHANNEL: Final = "cookcam_account_closed"
"""Of the triggers in `20250601003000_account_closure.sql`; the payload is the user's id."""
INTERVAL: Final = 0.5
"""Seconds between two looks at the connections that are new."""
AT_ONCE: Final = 1_000
"""Users in one statement."""
REASON: Final = "account closed"

CLOSED = "select user_id from public.closed_accounts(%(users)s::uuid[]) as user_id"


@frozen
class ClosedAccount:
    user_id: UUID


@define(eq=False)
class AccountWatch:
    """A background task. It may be started again; it then looks at everybody."""

    hub: Hub
    database: Database
    states: AccountStates
    _looked_up: set[Connection] = field(factory=set[Connection], init=False)

    async def run(self) -> None:
        """Closes the connections of closed accounts, those of this process, until cancelled."""
        self._looked_up.clear()
        listening: Listening[Notify] = Listening("accounts", lambda: self.database.listen(CHANNEL))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listening.run, self._heard, self._check_all_again)
            nursery.start_soon(self._look_up_the_new)

    def _heard(self, notification: Notify) -> None:
        with suppress(ValueError):  # whoever may log in may notify, with any payload
            user_id = UUID(notification.payload)
            self.states.forget(user_id)
            self._close(user_id)

    def _check_all_again(self) -> None:
        """Announcements may have been missed while the subscription was lost."""
        self.states.forget_all()
        self._looked_up.clear()

    async def _look_up_the_new(self) -> None:
        while True:
            await trio.sleep(INTERVAL)
            here = set(self.hub.connections)
            self._looked_up &= here
            new = list(here - self._looked_up)
            for first in range(0, len(new), AT_ONCE):
                if not await self._look_up(new[first : first + AT_ONCE]):
                    break

    async def _look_up(self, connections: list[Connection]) -> bool:
        """False when the database could not say: they are asked for again."""
        users = {connection.user_id for connection in connections}
        try:
            closed = await self.database.fetch_all_as(
                SERVICE, ClosedAccount, CLOSED, users=list(users)
            )
        except AppError as error:
            structlog.get_logger(__name__).debug("accounts not looked up", code=error.code)
            return False
        for account in closed:
            self._close(account.user_id)
        self._looked_up |= set(connections)
        return True

    def _close(self, user_id: UUID) -> None:
        self.hub.close_connections_of(user_id, CloseCode.FORBIDDEN, REASON)
