"""What happens once, soon after the first connection is accepted."""

from __future__ import annotations

import structlog
import trio
from attrs import frozen

from cookcam.features.health.service import Health
from cookcam.lifecycle.pm2 import announce_ready
from cookcam.providers.supabase import SupabaseAuth

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


async def warm_up(provider: SupabaseAuth) -> None:
    """Loads what the first sign-in would otherwise wait for: the heaviest of the libraries."""
    await provider.warm_up()
