"""Connections of a hub without a client behind them."""

from __future__ import annotations

from uuid import UUID, uuid4

import orjson
import psycopg
from attrs import define, field

from cookcam.identity import Identity
from cookcam.realtime.connection import CloseCode, Connection
from cookcam.realtime.hub import Hub
from cookcam.realtime.server_events import ServerEvent
from tests.support.postgres import as_owner


@define(eq=False)
class Recorder(Connection):
    """A connection that notes what it is sent."""

    protocol = "test"
    received: list[tuple[str, object]] = field(factory=list[tuple[str, object]], init=False)
    closed: CloseCode | None = field(default=None, init=False)

    def deliver(self, announcement: ServerEvent) -> bool:
        self.received.append((announcement.event, orjson.loads(orjson.dumps(announcement.body))))
        return True

    def _close(self, code: CloseCode, reason: str) -> None:
        self.closed = code


def connected(hub: Hub, user_id: UUID) -> Recorder:
    """Another connection of a user."""
    connection = Recorder(str(uuid4()), Identity(user_id=user_id, claims={}), hub, address="test")
    hub.add(connection)
    return connection


def cut_all_sessions(url: str) -> None:
    """Ends every session of a database, as a restart of PostgreSQL does."""
    with psycopg.connect(as_owner(url), autocommit=True) as owner:
        owner.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
