"""What happens once, soon after the first connection is accepted."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Protocol

import structlog
import trio
from attrs import frozen

from cookcam.features.operations.health.service import Health
from cookcam.lifecycle.pm2 import announce_ready

ASK_AGAIN_AFTER = 0.25
RUSH = 20.0
"""Seconds after the first connection in which nothing is loaded that can wait."""


@frozen
class ReadyAnnouncement:
    """Tells PM2 that it may stop the old process: not before this one could answer from data.

    PM2 waits `listen_timeout` for it and reports `online` anyway: a deployment asks /health/ready.
    """

    health: Health
    channel: int | None

    async def __call__(self) -> None:
        while True:
            readiness = await self.health.readiness()
            if readiness.ready:
                break
            await trio.sleep(ASK_AGAIN_AFTER)
        announced = announce_ready(self.channel)
        structlog.get_logger("cookcam.startup").info("ready for traffic", announced=announced)


class Heavy(Protocol):
    """A client of an outside service whose library takes long to import."""

    async def warm_up(self) -> None: ...


async def warm_up(at_once: Sequence[Heavy], later: Sequence[Heavy]) -> None:
    """Loads what somebody would otherwise wait for: what sign-ins and payments need at once, the
    rest when the rush of the start is over.

    The collector then need not look at it again, as with what is there at the start: its full
    rounds over the libraries of payments alone would hold up everything for tens of milliseconds.
    """
    await _load(at_once)
    await trio.sleep(RUSH)
    await _load(later)


async def _load(clients: Sequence[Heavy]) -> None:
    for client in clients:
        await client.warm_up()
    gc.freeze()
