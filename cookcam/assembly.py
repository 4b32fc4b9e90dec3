"""The table of contents of the program: from a Config to everything that runs.

The only module that knows every part. `open_program` opens the services in order (they close in
reverse) and hands `cookcam.lifecycle.run` what it starts and stops. Production, `cookcam dev` and
the tests differ in their Config alone.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlsplit

import structlog
from attrs import frozen

from cookcam.config import Config
from cookcam.database import Database
from cookcam.database.migrate import pending
from cookcam.dispatch import Dispatcher
from cookcam.features.accounts import routes as account_routes
from cookcam.features.accounts.service import Accounts, Profiles
from cookcam.features.accounts.store import ProfileStore
from cookcam.features.cooking import events as cooking_events
from cookcam.features.cooking.attendance import Attendance
from cookcam.features.cooking.changes import Changes
from cookcam.features.cooking.service import Cooking
from cookcam.features.cooking.store import CookingStore
from cookcam.features.feed import events as feed_events
from cookcam.features.feed.service import Feed
from cookcam.features.feed.store import FeedStore
from cookcam.features.health import routes as health_routes
from cookcam.features.health.service import Health
from cookcam.features.presence import events as presence_events
from cookcam.features.presence.service import Presence
from cookcam.features.presence.store import FollowStore
from cookcam.features.recipes import routes as recipe_routes
from cookcam.features.recipes.service import Recipes
from cookcam.features.recipes.store import RecipeStore
from cookcam.identity import Authenticator
from cookcam.lifecycle.background import Background, Task
from cookcam.lifecycle.run import Program
from cookcam.lifecycle.state import Lifecycle
from cookcam.lifecycle.work import Work
from cookcam.observability.metrics import Metrics
from cookcam.observability.reports import ErrorReporter
from cookcam.observability.sentry import open_sentry
from cookcam.providers.supabase import SupabaseAuth
from cookcam.realtime.bus import Bus
from cookcam.realtime.service import Realtime
from cookcam.serving.door import Door
from cookcam.serving.server import Server, protocol_config
from cookcam.startup import ReadyAnnouncement, warm_up
from cookcam.web.app import create_app
from cookcam.web.edge import Edge
from cookcam.web.errors import malformed_request
from cookcam.web.rate_limit import RateLimits


@frozen
class Services:
    """The opened services and what is made of them."""

    app: Edge
    realtime: Realtime
    background: Sequence[Task]
    reporter: ErrorReporter
    metrics: Metrics


@asynccontextmanager
async def open_services(config: Config, lifecycle: Lifecycle) -> AsyncGenerator[Services]:
    """Opens everything behind the connections, in order; closes it in reverse.

    Neither the database nor a provider has to be there yet: what needs one answers 503 until it
    is. Raises ValueError for a DATABASE_URL that PostgreSQL cannot read.
    """
    log = structlog.get_logger("cookcam.assembly")
    metrics = Metrics()
    limits = RateLimits.of(config.limits)
    async with AsyncExitStack() as stack:
        reporter = await stack.enter_async_context(
            open_sentry(
                dsn=config.observability.sentry_dsn,
                environment=config.environment,
                release=config.release,
            )
        )
        database = await stack.enter_async_context(Database.open(config.database))
        metrics.watch_pool(lambda: database.stats.in_use, lambda: database.stats.size)

        provider = await stack.enter_async_context(
            SupabaseAuth.open(
                supabase_url=config.identity.supabase_url,
                anon_key=config.identity.anon_key,
                service_role_key=config.identity.service_role_key,
            )
        )
        authenticator = await stack.enter_async_context(
            Authenticator.open(
                provider,
                supabase_url=config.identity.supabase_url,
                jwt_secret=config.identity.jwt_secret,
            )
        )
        log.info("Supabase clients initialized")

        bus = Bus(database)
        realtime = await stack.enter_async_context(
            Realtime.open(
                config,
                authenticator,
                lifecycle,
                metrics=metrics,
                reporter=reporter,
                bus=bus,
            )
        )
        if config.realtime.enabled:
            log.info("Real-time service initialized with WebSocket support")

        profiles = Profiles(ProfileStore(database))
        accounts = Accounts(provider, profiles)
        recipes = Recipes(RecipeStore(database), profiles)

        now = partial(datetime.now, UTC)
        changes = Changes(CookingStore(database), realtime.hub)
        cooking = Cooking(changes, recipes, now, config.realtime.open_join)
        attendance = Attendance(changes, config.realtime.host_grace, lifecycle)
        presence = Presence(FollowStore(database), cooking, realtime.hub)
        feed = Feed(
            FeedStore(database),
            recipes,
            presence,
            realtime.hub,
            now,
            storage=urlsplit(config.identity.supabase_url).netloc,
            per_target=feed_events.per_target(config.realtime),
        )
        realtime.include(cooking_events.events(cooking, attendance, config.realtime))
        realtime.include(presence_events.events(presence, now))
        realtime.include(feed_events.events(feed, config.realtime))

        health = Health(
            config,
            lifecycle,
            ping=database.ping,
            pending=lambda: pending(config.database.url.reveal()),
            realtime=realtime if config.realtime.enabled else None,
            cooking_sessions=cooking.active_sessions,
            bus_connected=lambda: bus.connected or not config.realtime.enabled,
        )

        app = create_app(
            config,
            routes=[
                health_routes.routes(health, metrics.render),
                account_routes.routes(accounts, profiles),
                recipe_routes.routes(recipes),
            ],
            authenticator=authenticator,
            limits=limits,
            reporter=reporter,
        )
        background = [
            Task("announce readiness", ReadyAnnouncement(health, config.server.pm2_channel)),
            Task("warm up", lambda: warm_up(provider)),
        ]
        if config.realtime.enabled:  # without sockets everybody would be away
            background.append(Task("cooking attendance", attendance.run))
        yield Services(
            app=Edge(
                Dispatcher(app, realtime), config, limits=limits, reporter=reporter, metrics=metrics
            ),
            realtime=realtime,
            background=background,
            reporter=reporter,
            metrics=metrics,
        )


@asynccontextmanager
async def open_program(
    config: Config,
    doors: Sequence[Door],
    lifecycle: Lifecycle,
    work: Work,
    *,
    on_ready: Callable[[], None],
) -> AsyncGenerator[Program]:
    """The services, and the server that lets connections in through `doors`."""
    async with open_services(config, lifecycle) as services:
        server = Server(
            services.app,
            doors,
            protocol_config(keep_alive_seconds=config.server.keep_alive_seconds),
            lifecycle,
            work,
            malformed_request,
        )
        background = Background(
            work, services.background, TaskReports(services.metrics, services.reporter)
        )
        yield Program(server, services.realtime, background, on_ready)


@frozen
class TaskReports:
    """Tells metrics and error reports of background tasks that failed."""

    metrics: Metrics
    reporter: ErrorReporter

    def task_failed(self, name: str, error: Exception) -> None:
        self.metrics.task_restarts_total.of(name).inc()
        self.reporter.capture_exception(error)
