"""What happens once, soon after the first connection is accepted."""

from __future__ import annotations

import gc
from typing import Protocol

import structlog
import trio
from attrs import frozen

from cookcam.features.health.service import Health
from cookcam.lifecycle.pm2 import announce_ready

ASK_AGAIN_AFTER = 0.25


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


async def warm_up(*clients: Heavy) -> None:
    """Loads what the first sign-in and the first payment would otherwise wait for, in this order.

    The collector then need not look at it again, as with what is there at the start: its full
    rounds over the libraries of payments alone would hold up everything for tens of milliseconds.
    """
    for client in clients:
        await client.warm_up()
    gc.freeze()
