"""Closes the connections of banned and deleted accounts within a second, and drops their cached
state (`cookcam.identity.account_states`).

Database triggers notify of every ban and deletion. Each instance listens itself, whichever bus is
used. Notifications can be missed during a reconnect or before a connection is open, so every
connection is also checked once after it was opened, and all of them after each reconnect. This also
finds a banned user who connects with a token that is still valid.
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
from cookcam.realtime.bus.subscription import ReconnectingSubscription
from cookcam.realtime.connection import CloseCode, Connection
from cookcam.realtime.hub import Hub

CHANNEL: Final = "cookcam_account_closed"
"""The triggers are in `20250601003000_account_closure.sql`; the payload is the user's id."""
INTERVAL: Final = 0.5
"""Seconds between two checks for new connections."""
MAX_USERS_PER_QUERY: Final = 1_000
REASON: Final = "account closed"

CLOSED = "select user_id from public.closed_accounts(%(users)s::uuid[]) as user_id"


@frozen
class ClosedAccount:
    user_id: UUID


@define(eq=False)
class AccountWatch:
    """A background task. When it is restarted, it checks all connections again."""

    hub: Hub
    database: Database
    states: AccountStates
    _checked: set[Connection] = field(factory=set[Connection], init=False)

    async def run(self) -> None:
        """Closes this process's connections of closed accounts until cancelled."""
        self._checked.clear()
        subscription: ReconnectingSubscription[Notify] = ReconnectingSubscription(
            "accounts", lambda: self.database.listen(CHANNEL)
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(subscription.run, self._account_closed, self._check_all_again)
            nursery.start_soon(self._check_new_connections)

    def _account_closed(self, notification: Notify) -> None:
        with suppress(ValueError):  # any database user may notify, with any payload
            user_id = UUID(notification.payload)
            self.states.forget(user_id)
            self._close(user_id)

    def _check_all_again(self) -> None:
        """Called after a (re)connect: notifications may have been missed."""
        self.states.forget_all()
        self._checked.clear()

    async def _check_new_connections(self) -> None:
        while True:
            await trio.sleep(INTERVAL)
            current = set(self.hub.connections)
            self._checked &= current
            new = list(current - self._checked)
            for first in range(0, len(new), MAX_USERS_PER_QUERY):
                if not await self._check(new[first : first + MAX_USERS_PER_QUERY]):
                    break

    async def _check(self, connections: list[Connection]) -> bool:
        """Closes the connections of closed accounts. False when the database is unavailable; these
        connections are checked again later."""
        users = {connection.user_id for connection in connections}
        try:
            closed = await self.database.fetch_all_as(
                SERVICE, ClosedAccount, CLOSED, users=list(users)
            )
        except AppError as error:
            structlog.get_logger(__name__).debug("accounts not checked", code=error.code)
            return False
        for account in closed:
            self._close(account.user_id)
        self._checked |= set(connections)
        return True

    def _close(self, user_id: UUID) -> None:
        self.hub.close_connections_of(user_id, CloseCode.FORBIDDEN, REASON)
