"""What every stage stands on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

from attrs import frozen

from cookcam.config import Config
from cookcam.database import Database
from cookcam.identity import AccountStates
from cookcam.lifecycle.state import Lifecycle
from cookcam.observability.metrics import Metrics
from cookcam.observability.reports import ErrorReporter
from cookcam.observability.sentry import open_sentry


@frozen
class Ground:
    """`now` gives the time in UTC."""

    config: Config
    lifecycle: Lifecycle
    metrics: Metrics
    reporter: ErrorReporter
    database: Database
    account_states: AccountStates
    now: Callable[[], datetime]


@asynccontextmanager
async def open_ground(config: Config, lifecycle: Lifecycle) -> AsyncGenerator[Ground]:
    """Raises ValueError for a DATABASE_URL that PostgreSQL cannot read."""
    metrics = Metrics()
    metrics.describe_build(config.release, config.server.version)
    async with (
        open_sentry(
            dsn=config.observability.sentry_dsn,
            environment=config.environment,
            release=config.release,
            metrics=metrics,
        ) as reporter,
        Database.open(config.database) as database,
    ):
        metrics.watch_pool(lambda: database.stats.in_use, lambda: database.stats.size)
        now = partial(datetime.now, UTC)
        states = AccountStates(database)
        yield Ground(config, lifecycle, metrics, reporter, database, states, now)
