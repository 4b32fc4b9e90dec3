"""The table of contents of the program.

`open_program` opens the services in order (they close in reverse) and hands
`cookcam.lifecycle.run` what it starts and stops.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import trio
from attrs import frozen

from cookcam.app.channel import open_channel
from cookcam.app.dispatch import Dispatcher
from cookcam.app.ground import Ground, open_ground
from cookcam.app.kitchen import Kitchen
from cookcam.app.live import Live
from cookcam.app.membership import Membership
from cookcam.app.money import Money
from cookcam.app.notices import Notices
from cookcam.app.people import People
from cookcam.app.providers import open_providers
from cookcam.app.reports import ConnectionReports, TaskReports
from cookcam.app.upkeep import Upkeep
from cookcam.config import Config
from cookcam.http import Routes
from cookcam.http.admission import Admission
from cookcam.http.app import create_app
from cookcam.http.edge import Edge
from cookcam.http.errors import malformed_request
from cookcam.http.rate_limit import RateLimits
from cookcam.identity import Authenticator
from cookcam.lifecycle.background import Background, Task
from cookcam.lifecycle.run import Program
from cookcam.lifecycle.state import Lifecycle
from cookcam.lifecycle.work import Work
from cookcam.observability.metrics import Metrics
from cookcam.observability.reports import ErrorReporter
from cookcam.realtime.service import SOCKET_IO, Realtime
from cookcam.serving.addresses import AddressLimit
from cookcam.serving.listener import Listener
from cookcam.serving.server import Server, protocol_config

BUS_JOIN_TIMEOUT = 2.0
"""Seconds that a start waits for the bus between the instances; then it goes on without it."""


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
    async with (
        open_ground(config, lifecycle) as ground,
        open_providers(config, ground.metrics, ground.account_states) as providers,
        open_channel(ground, providers) as channel,
    ):
        realtime = channel.realtime
        membership = Membership.of(ground.database, realtime.hub, ground.now)

        def close_account(user_id: UUID) -> None:
            """Takes effect here at once; other instances hear of it from the database."""
            ground.account_states.forget(user_id)
            realtime.close_account(user_id)

        people = People.of(ground, providers, membership, close_account)
        kitchen = Kitchen.of(ground, providers, membership, people, realtime.hub)
        live = Live.of(ground, realtime.hub, kitchen.recipes)
        money = Money.of(ground, providers, membership, people, kitchen.recipes)
        notices = Notices.of(ground, providers)
        upkeep = Upkeep.of(ground, channel, providers, live.cooking)

        for events in live.events():
            realtime.include(events)
        routes = [
            *upkeep.routes(),
            *people.routes(),
            *notices.routes(),
            *kitchen.routes(),
            *membership.routes(),
            *money.routes(),
        ]
        background = [
            *upkeep.background(),
            *people.background(),
            *notices.background(),
            *money.background(),
            *live.background(),
        ]
        admission = Admission(ground.metrics)
        background.append(Task("admission", admission.run))
        app = edge_of(ground, providers.authenticator, realtime, routes, admission)
        if config.realtime.enabled:
            # The server listens after this: an event of its first client reaches the others.
            with trio.move_on_after(BUS_JOIN_TIMEOUT):
                await channel.bus.attempted.wait()
        yield Services(app, realtime, background, ground.reporter, ground.metrics)


def edge_of(
    ground: Ground,
    authenticator: Authenticator,
    realtime: Realtime,
    routes: Iterable[Routes],
    admission: Admission | None = None,
) -> Edge:
    """What a connection talks to: the edge, and behind it the routes and the live channel."""
    config, reporter = ground.config, ground.reporter
    limits = RateLimits.of(config.limits)
    app = create_app(config, routes, authenticator=authenticator, limits=limits, reporter=reporter)
    return Edge(
        Dispatcher(app, realtime),
        config,
        limits=limits,
        router=app.router,
        transport=SOCKET_IO,
        admission=admission,
        reporter=reporter,
        metrics=ground.metrics,
    )


@asynccontextmanager
async def open_program(
    config: Config,
    doors: Sequence[Listener],
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
            protocol_config(
                keep_alive_seconds=config.server.keep_alive_seconds,
                compress_websockets=config.realtime.compression,
                websocket_timeout=config.realtime.ping_interval
                + config.realtime.ping_timeout
                + 30,  # the heartbeats come first
            ),
            lifecycle,
            work,
            malformed_request,
            ConnectionReports(services.metrics, services.reporter),
            AddressLimit(config.server.max_connections_per_address, config.server.trusted_proxies),
        )
        background = Background(
            work, services.background, TaskReports(services.metrics, services.reporter)
        )
        yield Program(server, services.realtime, background, on_ready)
