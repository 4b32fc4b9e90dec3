"""Runs once after the start: the ready message to PM2 and the import of large libraries."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Protocol

import structlog
import trio
from attrs import frozen

from cookcam.features.operations.health.service import Health
from cookcam.lifecycle.pm2 import announce_ready

POLL_INTERVAL = 0.25
WARM_UP_DELAY = 20.0
"""Seconds after the start before libraries that are not needed at once are imported."""


@frozen
class ReadyAnnouncement:
    """Reports readiness to PM2, which then stops the old process: once the database is usable.

    PM2 waits `listen_timeout` for it and then reports `online` anyway; a deployment checks
    /health/ready.
    """

    health: Health
    channel: int | None

    async def __call__(self) -> None:
        while True:
            readiness = await self.health.readiness()
            if readiness.ready:
                break
            await trio.sleep(POLL_INTERVAL)
        announced = announce_ready(self.channel)
        structlog.get_logger("cookcam.startup").info("ready for traffic", announced=announced)


class WarmUp(Protocol):
    """A client of an outside service whose library takes long to import."""

    async def warm_up(self) -> None: ...


async def warm_up(at_once: Sequence[WarmUp], later: Sequence[WarmUp]) -> None:
    """Import the libraries of clients before their first call: some at once, the others later.

    The imported objects are excluded from garbage collection: a full collection over them would
    stop every request for tens of milliseconds.
    """
    await _load(at_once)
    await trio.sleep(WARM_UP_DELAY)
    await _load(later)


async def _load(clients: Sequence[WarmUp]) -> None:
    for client in clients:
        await client.warm_up()
    gc.freeze()
