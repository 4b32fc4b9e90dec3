"""The live channel, still without events: features send on it, `Live` brings what it hears."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import structlog
from attrs import frozen

from cookcam.app.ground import Ground
from cookcam.app.providers import Providers
from cookcam.config import Config
from cookcam.database import Database
from cookcam.features.accounts.service import PublicCards
from cookcam.features.accounts.store import ProfileStore
from cookcam.features.social.presence.names import DisplayNames
from cookcam.integrations.redis import Redis
from cookcam.realtime.bus import Bus
from cookcam.realtime.bus.local import LocalBus
from cookcam.realtime.bus.postgres import PostgresBus
from cookcam.realtime.bus.redis import RedisBus
from cookcam.realtime.service import Realtime


@frozen
class Channel:
    realtime: Realtime
    bus: Bus


@asynccontextmanager
async def open_channel(ground: Ground, providers: Providers) -> AsyncGenerator[Channel]:
    bus = choose_bus(ground.config, ground.database, providers.redis)
    async with Realtime.open(
        ground.config,
        providers.authenticator,
        ground.lifecycle,
        metrics=ground.metrics,
        reporter=ground.reporter,
        bus=bus,
        name_of=DisplayNames(PublicCards(ProfileStore(ground.database))).of,
    ) as realtime:
        if ground.config.realtime.enabled:
            log = structlog.get_logger("cookcam.assembly")
            log.info("Real-time service initialized with WebSocket support")
        yield Channel(realtime, bus)


def choose_bus(config: Config, database: Database, redis: Redis | None) -> Bus:
    """What joins this instance to the others."""
    if config.bus == "redis" and redis is not None:
        # Publish and subscribe reach across the databases of a Redis; a project is alone in its.
        return RedisBus(redis, f"cookcam:live:{urlsplit(config.identity.supabase_url).netloc}")
    return LocalBus() if config.bus == "local" else PostgresBus(database)
