"""The realtime service: the hub, both gateways, and their shutdown.

    async with Realtime.open(config, authenticator, lifecycle) as realtime:
        realtime.include(cooking.events(sessions))      # before the first connection
        ...
        if realtime.handles(scope):
            await realtime(scope, receive, send)        # ASGI

Implements `Sockets` of `cookcam.lifecycle.shutdown`, and provides the counts of the health checks.
"""

from __future__ import annotations

import gc
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Literal
from uuid import UUID

import trio
from attrs import define, field, frozen

from cookcam.config import Config
from cookcam.errors import AuthorizationError, NotFound
from cookcam.http.errors import RecordRejection, ignore_rejection
from cookcam.http.routing import CANONICAL, canonical
from cookcam.identity import Authenticator
from cookcam.identity.console_cookie import CONSOLE_SOCKET
from cookcam.lifecycle.state import Lifecycle
from cookcam.observability.logging import get_logger
from cookcam.observability.metrics import Metrics
from cookcam.observability.reports import ErrorReporter, NoReports
from cookcam.realtime.accounts import REASON
from cookcam.realtime.admission import (
    UNDER_MAINTENANCE,
    Admission,
    NameOf,
    send_rejection,
)
from cookcam.realtime.bus import Bus
from cookcam.realtime.connection import CloseCode
from cookcam.realtime.engineio import CloseCounts, DirectExtension, Receive, Request, Scope, Send
from cookcam.realtime.engineio.heartbeats import Heartbeats
from cookcam.realtime.engineio.origins import Origins
from cookcam.realtime.engineio.writer import WriteScheduler
from cookcam.realtime.events import Event, Events
from cookcam.realtime.gateway import Gateway
from cookcam.realtime.hub import Hub
from cookcam.realtime.limits import event_quota, handshake_quota
from cookcam.realtime.plain.server import PlainGateway
from cookcam.realtime.relay import Relay
from cookcam.realtime.router import Router
from cookcam.realtime.tokens import TokenWatch, token_events
from cookcam.serving.extensions import WEBSOCKET_DIRECT, WEBSOCKET_FLUSH
from cookcam.sliding_windows import QuotaCounters

SOCKET_IO: Final = "/socket.io"
PLAIN_PATH: Final = f"{CANONICAL}/realtime"
PLAIN_PATHS: Final = frozenset({PLAIN_PATH, CONSOLE_SOCKET})

DRAIN_TIMEOUT: Final = 3.0
"""Seconds from the start of the drain until remaining sockets are cut."""
DRAIN_TIMEOUT_PER_SOCKET: Final = 0.001
"""Seconds that each socket adds to the timeout: the processor time of closing it."""
BATCH_SIZE: Final = 500

DIRECT: Final = DirectExtension(WEBSOCKET_DIRECT, {"type": WEBSOCKET_FLUSH})

Status = Literal["active", "draining", "disabled"]


@frozen
class FailureReports:
    """Logs, counts and reports an error of one connection; the `OnFailure` of all tasks."""

    metrics: Metrics
    reporter: ErrorReporter
    _log: Any = field(factory=lambda: get_logger("cookcam.realtime"), init=False)

    def __call__(self, task: str, error: Exception) -> None:
        self._log.error("realtime task failed for one connection", task=task, exc_info=error)
        self.metrics.connection_errors_total.of(task).inc()
        self.reporter.capture_exception(error)


@define(eq=False)
class Realtime:
    """Build it with `open`."""

    hub: Hub
    _config: Config
    _lifecycle: Lifecycle
    _router: Router
    _gateway: Gateway
    _plain: PlainGateway
    _origins: Origins
    _log: Any = field(factory=lambda: get_logger("cookcam.realtime"), init=False)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        config: Config,
        authenticator: Authenticator,
        lifecycle: Lifecycle,
        *,
        metrics: Metrics | None = None,
        reporter: ErrorReporter | None = None,
        bus: Bus | None = None,
        name_of: NameOf | None = None,
        counters: QuotaCounters | None = None,
        record_rejection: RecordRejection = ignore_rejection,
        denies_address: Callable[[str], bool] = lambda _: False,
        clock: Callable[[], float] = time.time,
    ) -> AsyncGenerator[Realtime]:
        """Rejects handshakes while `lifecycle` drains. `clock` returns seconds since the epoch.

        `bus` connects the other instances; None is a single instance. `name_of` returns a user's
        display name; without it, the name in the token is used. `counters` count the events and
        handshakes of all users. `denies_address` is the operators' blocklist.

        `notice` and `drain` close all connections cleanly. Leaving the block without them cuts the
        Socket.IO sessions; a plain connection ends with its request in the HTTP server.
        """
        metrics = metrics or Metrics()
        realtime = cls.of(
            config,
            authenticator,
            lifecycle,
            metrics,
            reporter or NoReports(),
            name_of,
            counters or QuotaCounters(),
            record_rejection,
            denies_address,
        )
        hub = realtime.hub
        metrics.ws_outbox_messages.set_function(lambda: sum(one.queued for one in hub.connections))

        def count_bus(direction: str) -> None:
            metrics.bus_messages_total.of(direction).inc()

        failure: BaseException | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(TokenWatch(realtime.hub, clock).run)
            nursery.start_soon(realtime._plain.heartbeats.run)
            nursery.start_soon(realtime._plain.scheduler.run)
            if bus is not None and config.realtime.enabled:
                nursery.start_soon(Relay(realtime.hub, bus, count_bus).run)
            async with realtime._gateway.server:
                try:
                    yield realtime
                except BaseException as error:
                    # Raised outside of the nurseries, which would wrap it in exception groups.
                    failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    @classmethod
    def of(
        cls,
        config: Config,
        authenticator: Authenticator,
        lifecycle: Lifecycle,
        metrics: Metrics,
        reporter: ErrorReporter,
        name_of: NameOf | None,
        counters: QuotaCounters,
        record_rejection: RecordRejection,
        denies_address: Callable[[str], bool],
    ) -> Realtime:
        """Builds the service; `open` runs it."""
        settings = config.realtime
        on_failure = FailureReports(metrics, reporter)
        hub = Hub(settings.max_per_user, on_failure=on_failure)
        router = Router.of(
            event_quota(settings),
            handler_timeout=config.server.request_timeout,
            metrics=metrics,
            counters=counters,
            reporter=reporter,
            record_rejection=record_rejection,
        )
        admission = Admission(
            hub,
            router,
            authenticator,
            lifecycle,
            counters,
            handshake_quota(settings) if config.limits.enabled else None,
            metrics,
            reporter,
            name_of,
            denies_address,
        )
        router.include(token_events(authenticator, admission.with_profile_name))
        return cls(
            hub,
            config,
            lifecycle,
            router,
            Gateway.of(settings, admission, DIRECT),
            PlainGateway(
                admission,
                Heartbeats(settings.ping_interval, settings.ping_timeout, on_failure),
                WriteScheduler(on_failure=on_failure),
                DIRECT,
            ),
            Origins(config.server.cors_origins),
        )

    def include(self, events: Events) -> None:
        """Adds the events of a feature. Raises ValueError for a name that is taken."""
        self._router.include(events)

    @property
    def events(self) -> Mapping[str, Event]:
        """The events that clients may send, by name."""
        return self._router.events

    # -- ASGI

    def handles(self, scope: Scope) -> bool:
        """Whether the path belongs to this service, enabled or not."""
        kind, path = scope["type"], canonical(scope["path"])
        return (kind in ("http", "websocket") and path == SOCKET_IO) or (
            kind == "websocket" and path in PLAIN_PATHS
        )

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # Not a coroutine of its own, which each idle WebSocket would hold.
        if not self._config.realtime.enabled:
            return send_rejection(scope, send, NotFound("Real-time service is disabled"))
        if scope["type"] == "http":
            return self._gateway.server(scope, receive, send)
        if not self._admits_origin(scope):
            return send_rejection(scope, send, AuthorizationError("Origin not allowed"))
        if canonical(scope["path"]) in PLAIN_PATHS:
            return self._plain(scope, receive, send)
        return self._gateway.server(scope, receive, send)

    # -- accounts

    def close_account(self, user_id: UUID) -> int:
        """Closes all connections of a disabled or deleted account, on every instance, with 4403;
        returns how many were on this one. Never blocks.

        Bans and deletions in the database are also detected by `cookcam.realtime.accounts`.
        """
        return self.hub.close_user(user_id, CloseCode.FORBIDDEN, REASON)

    async def close_for_maintenance(self, retry_after: int) -> None:
        """Announces the maintenance to every connection and closes it with 1001. Clients reconnect,
        and are rejected while the maintenance lasts; `retry_after` is in seconds."""
        connections = [one for one in self.hub.connections if not one.watches_drain]
        for index, connection in enumerate(connections):
            connection.announce_shutdown(retry_after)
            connection.close(CloseCode.GOING_AWAY, UNDER_MAINTENANCE)
            if index % BATCH_SIZE == BATCH_SIZE - 1:
                await trio.lowlevel.checkpoint()
        if connections:
            self._log.info("sockets closed for maintenance", connections=len(connections))

    # -- health

    def connected_users(self) -> int:
        return self.hub.connected_users()

    def connections(self) -> int:
        return self.hub.connection_count()

    @property
    def status(self) -> Status:
        if not self._config.realtime.enabled:
            return "disabled"
        return "draining" if self._lifecycle.draining else "active"

    # -- shutdown

    async def notice(self) -> None:
        """Sends `server_shutdown` to every socket. No new ones are admitted by now.

        If `drain` follows immediately, a polling client gets it together with the goodbye, because
        no server may be left for its next request.
        """
        drain_follows = self._config.drain.notice == 0
        for index, connection in enumerate(self.hub.connections):
            if not (connection.polling and drain_follows):
                connection.announce_shutdown()
            if index % BATCH_SIZE == BATCH_SIZE - 1:
                await trio.lowlevel.checkpoint()

    async def drain(self) -> int:
        """Closes every socket in its protocol; returns when all have ended. Sockets that remain
        after DRAIN_TIMEOUT, plus DRAIN_TIMEOUT_PER_SOCKET for each, are cut.

        The result is the number of clients that polled: they have no connection that the HTTP
        server could count.
        """
        if not self._config.realtime.enabled:
            return 0
        sessions = self._gateway.open_sessions()
        polling = sum(session.transport == "polling" for session in sessions)
        connections = len(sessions) + self._plain.open_count
        timeout = DRAIN_TIMEOUT + DRAIN_TIMEOUT_PER_SOCKET * connections
        if connections > BATCH_SIZE:
            # The process is about to end, and collecting cycles among so many closed sockets would
            # take a fifth of the drain: exclude the existing objects.
            gc.freeze()
        self._log.info("Closing WebSocket connections...", connections=connections)
        counts: list[CloseCounts] = []

        async def drain(gateway: Gateway | PlainGateway) -> None:
            counts.append(await gateway.drain(timeout))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain, self._gateway)
            nursery.start_soon(drain, self._plain)
        total = sum(counts, CloseCounts())
        self._log.info("All WebSocket connections closed", clean=total.clean, cut=total.cut)
        return polling

    def _admits_origin(self, scope: Scope) -> bool:
        """Web pages may connect from the listed origins; native apps send no origin."""
        return self._origins.admits(Request(scope, {}))
