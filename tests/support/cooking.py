"""Cooking sessions without network and database, for tests with a virtual clock.

The store is a dictionary with the same conditional updates; everything else is real.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, ClassVar, cast
from uuid import UUID, uuid4

import trio
from attrs import define, evolve, field

from cookcam.errors import AppError, Conflict
from cookcam.features.social.cooking.changes import SessionChanges
from cookcam.features.social.cooking.models import CookingSession, Message
from cookcam.features.social.cooking.service import Cooking
from cookcam.features.social.cooking.timeouts import SessionTimeouts
from cookcam.features.social.moderation.blocks import HiddenUsers
from cookcam.identity import Identity
from cookcam.lifecycle.state import Lifecycle, Phase
from cookcam.realtime.connection import CloseCode, Connection
from cookcam.realtime.hub import Hub
from cookcam.realtime.server_events import ServerEvent

STEPS = 5


@define
class MemoryStore:
    """Outlives a `CookingProcess`, as a database does. Writes raise `failure` when it is set."""

    rows: dict[str, CookingSession] = field(factory=dict)
    last_events: dict[str, float] = field(factory=dict)
    """Session id → time of the last event, by Trio's clock."""
    failure: AppError | None = None

    async def create(
        self, session: CookingSession, invited: Collection[UUID], *, at_most: int
    ) -> None:
        await self._wait()
        hosted = [row for row in self._active() if row.host_id == session.host_id]
        if len(hosted) >= at_most:
            raise Conflict()
        self._write(session)

    async def find(self, session_id: str) -> CookingSession | None:
        await trio.lowlevel.checkpoint()
        row = self.rows.get(session_id)
        return self._read(row) if row is not None and row.is_active else None

    async def active(self, limit: int) -> list[CookingSession]:
        await self._wait()
        return [self._read(row) for row in self._active()[-limit:]]

    async def of_user(self, user_id: UUID, limit: int) -> list[CookingSession]:
        await trio.lowlevel.checkpoint()
        return [row for row in self._active() if user_id in row.participants][:limit]

    async def advance(
        self, before: CookingSession, after: CookingSession, message: Message | None = None
    ) -> bool:
        await self._wait()
        row = self.rows[before.id]
        if not row.is_active or row.seq != before.seq:
            return False
        self._write(after)
        return True

    async def admit(
        self, before: CookingSession, after: CookingSession, user_id: UUID, *, at_most: int
    ) -> bool:
        mine = await self.of_user(user_id, 1000)
        if sum(row.host_id != user_id for row in mine) >= at_most:
            raise Conflict()
        return await self.advance(before, after)

    async def _wait(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.failure is not None:
            raise self.failure

    def _write(self, row: CookingSession) -> None:
        self.rows[row.id] = row
        self.last_events[row.id] = trio.current_time()

    def _read(self, row: CookingSession) -> CookingSession:
        return evolve(row, idle_for=trio.current_time() - self.last_events[row.id])

    def _active(self) -> list[CookingSession]:
        return [row for row in self.rows.values() if row.is_active]


@define(eq=False)
class Device(Connection):
    """A connection of the hub that records the events sent to it."""

    protocol: ClassVar[str] = "test"
    events: list[tuple[str, Any]] = field(factory=list, init=False)

    def deliver(self, announcement: ServerEvent) -> bool:
        frame = json.loads(cast("str", announcement.plain.frames[0]))
        self.events.append((frame["event"], frame["data"]))
        return True

    def _close(self, code: CloseCode, reason: str) -> None:
        pass

    def take(self) -> list[tuple[str, Any]]:
        taken, self.events = self.events, []
        return taken


class FakeRecipes:
    """Every recipe exists and has STEPS steps."""

    async def require(self, reader: Identity, recipe_id: UUID) -> Any:
        await trio.lowlevel.checkpoint()
        return SimpleNamespace(id=recipe_id, instructions=["Stir"] * STEPS)


class NoBlocks:
    """No user has blocked another."""

    async def hidden_from(self, user_id: UUID) -> HiddenUsers:
        await trio.lowlevel.checkpoint()
        return HiddenUsers(cast("Any", self), user_id, frozenset())

    def recent(self, user_id: UUID) -> frozenset[UUID]:
        return frozenset()


@define
class CookingProcess:
    """The cooking services of one process."""

    store: MemoryStore = field(factory=MemoryStore)
    host_grace: float = 60.0
    open_join: bool = False
    lifecycle: Lifecycle = field(factory=lambda: Lifecycle(Phase.SERVING))
    hub: Hub = field(factory=lambda: Hub(100))
    changes: SessionChanges = field(init=False)
    cooking: Cooking = field(init=False)
    timeouts: SessionTimeouts = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.changes = SessionChanges(self.store, self.hub)
        self.cooking = Cooking(
            self.changes,
            cast("Any", FakeRecipes()),
            cast("Any", NoBlocks()),
            lambda: datetime.now(UTC),
            self.open_join,
        )
        self.timeouts = SessionTimeouts(self.changes, self.host_grace, self.lifecycle)

    def restarted(self) -> CookingProcess:
        """A new process over the same store, without connections."""
        return evolve(self, hub=Hub(100), lifecycle=Lifecycle(Phase.SERVING))

    def connect(self, user_id: UUID | None = None, name: str = "Ann") -> Device:
        device = Device(
            uuid4().hex, Identity(user_id or uuid4(), name=name), self.hub, address="test"
        )
        self.hub.add(device)
        return device

    async def disconnect(self, device: Device) -> None:
        self.hub.remove(device)
        await self.timeouts.connection_lost(device, "transport close")

    async def create(self, host: Device, **options: Any) -> str:
        options = {"is_public": True, **options}
        session, _ = await self.cooking.create(host, uuid4(), "Tonight", **options)
        return session.id
