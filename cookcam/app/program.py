"""From a Config to the running program.

`open_services` opens everything behind the connections; `open_program` adds the listeners and hands
the program to `cookcam.lifecycle.run`. What each component is built from is in `container.py`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
import trio
from attrs import frozen

from cookcam.app.asyncapi import asyncapi_routes
from cookcam.app.clients import open_clients
from cookcam.app.container import Container
from cookcam.app.reports import ConnectionReports, TaskReports, database_timings
from cookcam.app.tracing import open_tracing
from cookcam.config import Config
from cookcam.database import Database
from cookcam.errors import NotFound
from cookcam.features.accounts.service import PublicCards
from cookcam.features.accounts.store import ProfileStore
from cookcam.features.billing.reconciliation.service import Reconciliation
from cookcam.features.billing.tiers.models import CREATOR, REGULAR
from cookcam.features.operations.row_buffer import RowBuffer
from cookcam.features.operations.security.blocklist import Blocklist, BlocklistStore
from cookcam.features.operations.security.recorder import SecurityRecorder
from cookcam.features.operations.security.store import SecurityEventStore
from cookcam.http import Routes
from cookcam.http.app import create_app
from cookcam.http.edge import Edge
from cookcam.http.errors import malformed_request
from cookcam.http.rate_limit import GLOBAL, GLOBAL_OF_CREATOR, GLOBAL_OF_REGULAR
from cookcam.identity import AccountStates, Authenticator
from cookcam.integrations.redis import Redis
from cookcam.lifecycle.background import Background, Task
from cookcam.lifecycle.control import serve_control
from cookcam.lifecycle.process_state import ProcessState
from cookcam.lifecycle.run import Program
from cookcam.lifecycle.run_record import RunRecord
from cookcam.lifecycle.state import Lifecycle
from cookcam.lifecycle.tree import recorded_ages
from cookcam.lifecycle.work import Work
from cookcam.observability.logging import instance_name
from cookcam.observability.metrics import Metrics
from cookcam.observability.reports import ErrorReporter, NoReports
from cookcam.observability.sentry import open_sentry
from cookcam.realtime.admission import send_rejection
from cookcam.realtime.bus import Bus
from cookcam.realtime.bus.local import LocalBus
from cookcam.realtime.bus.postgres import PostgresBus
from cookcam.realtime.bus.redis import RedisBus
from cookcam.realtime.service import SOCKET_IO, Realtime
from cookcam.serving.addresses import AddressLimit
from cookcam.serving.listener import Listener
from cookcam.serving.server import Server, protocol_config
from cookcam.sliding_windows import QuotaCounters

GENERAL_QUOTAS = {REGULAR: GLOBAL_OF_REGULAR, CREATOR: GLOBAL_OF_CREATOR}
"""The general quotas of the paid tiers, by the id of the tier."""

BUS_JOIN_TIMEOUT = 2.0
"""Seconds that a start waits for the bus between the instances; then it goes on without it."""
SWITCHES_TIMEOUT = 2.0
"""Seconds that a start waits for the operators' switches; then it goes on in normal mode."""


@asynccontextmanager
async def open_container(
    config: Config, lifecycle: Lifecycle, process: ProcessState | None = None
) -> AsyncGenerator[Container]:
    """Open the database, the clients and the sockets; closes them in reverse.

    Neither the database nor an outside service has to be reachable yet: what needs one answers
    503 until it is. Raises ValueError for a DATABASE_URL that PostgreSQL cannot parse.
    """
    metrics = Metrics()
    metrics.describe_build(config.release, config.server.version)
    async with (
        open_tracing(config, metrics),
        open_sentry(
            dsn=config.observability.sentry_dsn,
            environment=config.environment,
            release=config.release,
            metrics=metrics,
        ) as reporter,
        Database.open(
            config.database, timings=database_timings(metrics), mode=lifecycle.mode
        ) as database,
    ):
        metrics.watch_pool(lambda: database.stats.in_use, lambda: database.stats.size)
        metrics.db_pool_max.set(config.database.pool_max)
        account_states = AccountStates(database)
        blocklist = Blocklist(BlocklistStore(database))
        security = security_recorder(config, database, metrics)
        async with open_clients(
            config, metrics, account_states, denies_user=blocklist.denies_user
        ) as clients:
            bus = choose_bus(config, database, clients.redis)
            without_sockets = not config.realtime.enabled
            metrics.bus_connected.set_function(lambda: bus.connected or without_sockets)
            async with Realtime.open(
                config,
                clients.authenticator,
                lifecycle,
                metrics=metrics,
                reporter=reporter,
                bus=bus,
                name_of=PublicCards(ProfileStore(database)).name_of,
                counters=QuotaCounters(clients.windows),
                record_rejection=security.record,
                denies_address=blocklist.denies_address,
            ) as realtime:
                if config.realtime.enabled:
                    log = structlog.get_logger("cookcam.assembly")
                    log.info("Real-time service initialized with WebSocket support")
                yield Container(
                    config=config,
                    lifecycle=lifecycle,
                    process=process
                    or ProcessState(instance_name(config), config.release, lifecycle),
                    metrics=metrics,
                    reporter=reporter,
                    database=database,
                    account_states=account_states,
                    blocklist=blocklist,
                    security=security,
                    clients=clients,
                    bus=bus,
                    sockets=realtime,
                )


@asynccontextmanager
async def open_reconciliation(config: Config) -> AsyncGenerator[Reconciliation]:
    """Open what `cookcam reconcile` needs: a process without sockets, which notifies no user."""
    metrics = Metrics()
    async with Database.open(config.database) as database:
        account_states = AccountStates(database)
        async with open_clients(config, metrics, account_states) as clients:
            lifecycle = Lifecycle()
            yield Container(
                config=config,
                lifecycle=lifecycle,
                process=ProcessState(instance_name(config), config.release, lifecycle),
                metrics=metrics,
                reporter=NoReports(),
                database=database,
                account_states=account_states,
                blocklist=Blocklist(BlocklistStore(database)),
                security=security_recorder(config, database, metrics),
                clients=clients,
                bus=LocalBus(),
                sockets=None,
            ).reconciliation


def security_recorder(config: Config, database: Database, metrics: Metrics) -> SecurityRecorder:
    """The recorder of security events; the container's background task writes them."""

    def count(outcome: str, rows: int) -> None:
        metrics.security_event_rows_total.of(outcome).inc(rows)

    buffer = RowBuffer("security events", SecurityEventStore(database).write, count, max_rows=5_000)
    recorder = SecurityRecorder(
        buffer,
        config.identity.service_role_key,
        lambda: datetime.now(UTC),
        lambda: count("dropped", 1),
    )
    failed = recorder.failed_sign_ins
    metrics.failed_sign_in_accounts.set_function(failed.accounts)
    metrics.failed_sign_in_accounts_of_an_address.set_function(failed.most_accounts_of_an_address)
    return recorder


def choose_bus(config: Config, database: Database, redis: Redis | None) -> Bus:
    """The bus between the instances."""
    if config.bus == "redis" and redis is not None:
        # Redis channels are shared by all databases of a Redis server: the name has the project.
        return RedisBus(redis, f"cookcam:live:{urlsplit(config.identity.supabase_url).netloc}")
    return LocalBus() if config.bus == "local" else PostgresBus(database)


@frozen
class Services:
    """The running services, the application and its background tasks, which are not started."""

    app: Edge
    realtime: Realtime
    background: Sequence[Task]
    reporter: ErrorReporter
    metrics: Metrics


@asynccontextmanager
async def open_services(
    config: Config, lifecycle: Lifecycle, process: ProcessState | None = None
) -> AsyncGenerator[Services]:
    """Open everything behind the connections, and wait a moment for the bus."""
    async with open_container(config, lifecycle, process) as container:
        for events in container.events():
            container.realtime.include(events)
        documents = asyncapi_routes(lambda: container.realtime.events, config)
        app = build_app(container, [*container.routes(), documents])
        with trio.move_on_after(SWITCHES_TIMEOUT):
            await container.switches.follow()
        if config.realtime.enabled:
            # The server listens after this: events of its first client reach the other instances.
            with trio.move_on_after(BUS_JOIN_TIMEOUT):
                await container.bus.attempted.wait()
        if container.clients.windows is not None:
            await container.clients.windows.connect()
        yield Services(
            app,
            container.realtime,
            container.background_tasks(),
            container.reporter,
            container.metrics,
        )


def build_app(container: Container, routes: Iterable[Routes]) -> Edge:
    """The ASGI application: the edge, and behind it the sockets and `routes`."""
    config, reporter = container.config, container.reporter
    app = create_app(
        config,
        routes,
        authenticator=container.clients.authenticator,
        limits=container.limits,
        reporter=reporter,
        metrics=container.metrics,
        record_rejection=container.security.record,
    )
    return Edge(
        Dispatcher(app, container.realtime),
        config,
        limits=container.limits,
        router=app.router,
        transport=SOCKET_IO,
        admission=container.admission,
        mode=container.lifecycle.mode,
        reporter=reporter,
        metrics=container.metrics,
        quota_of_caller=partial(
            quota_of_caller, container.clients.authenticator, container.account_states
        ),
        record_rejection=container.security.record,
        denies_address=container.blocklist.denies_address,
    )


def quota_of_caller(
    authenticator: Authenticator, accounts: AccountStates, authorization: bytes
) -> tuple[str, str] | None:
    """The general quota of the owner of a verified token, by tier; None for another token."""
    scheme, _, token = authorization.decode("latin-1").partition(" ")
    identity = authenticator.cached_identity(token.strip()) if scheme.lower() == "bearer" else None
    if identity is None:
        return None
    bucket = GENERAL_QUOTAS.get(accounts.tier_of(identity.user_id), GLOBAL)
    return bucket, str(identity.user_id)


@frozen
class Dispatcher:
    """ASGI: passes a connection to the sockets or to the routes."""

    app: Callable[[Any, Any, Any], Awaitable[None]]
    realtime: Realtime

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        if self.realtime.handles(scope):
            return self.realtime(scope, receive, send)
        if scope["type"] == "websocket":
            return send_rejection(scope, send, NotFound(f"Cannot GET {scope['path']}"))
        return self.app(scope, receive, send)


@asynccontextmanager
async def open_program(
    config: Config,
    listeners: Sequence[Listener],
    lifecycle: Lifecycle,
    work: Work,
    *,
    on_ready: Callable[[Metrics], None],
    control: Path | None = None,
    record: RunRecord | None = None,
) -> AsyncGenerator[Program]:
    """Open the services, and a server that accepts connections from `listeners`.

    `control` is the path of the control socket, which is open from before the services until after
    them; None for none. `record` says how the previous run ended.
    """

    with recorded_ages() as ages:
        process = ProcessState(
            instance_name(config), config.release, lifecycle, work, record or RunRecord(), ages
        )
        async with (
            serve_control(control, process.describe),
            open_services(config, lifecycle, process) as services,
        ):
            server = Server(
                services.app,
                listeners,
                protocol_config(
                    keep_alive_seconds=config.server.keep_alive_seconds,
                    compress_websockets=config.realtime.compression,
                    # Above the heartbeat's timeout: a silent peer is closed by the heartbeat first.
                    websocket_timeout=config.realtime.ping_interval
                    + config.realtime.ping_timeout
                    + 30,
                ),
                lifecycle,
                work,
                malformed_request,
                ConnectionReports(services.metrics, services.reporter),
                AddressLimit(
                    config.server.max_connections_per_address, config.server.trusted_proxies
                ),
            )
            background = Background(
                work, services.background, TaskReports(services.metrics, services.reporter)
            )
            yield Program(server, services.realtime, background, lambda: on_ready(services.metrics))
