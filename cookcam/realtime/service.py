"""The live channel as one part of the program: the hub, both gateways, and their shutdown.

    async with Realtime.open(config, authenticator, lifecycle) as realtime:
        realtime.include(cooking.events(sessions))      # before the first connection
        ...
        if realtime.handles(scope):
            await realtime(scope, receive, send)        # ASGI

It is the `Sockets` of `cookcam.lifecycle.shutdown` and the counts in health answers.
Source: `spec/realtime.md`.
"""

from __future__ import annotations

import gc
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Literal
from uuid import UUID

import trio
from attrs import define, field

from cookcam.config import Config
from cookcam.errors import AuthorizationError, NotFound
from cookcam.http.paths import CANONICAL, canonical
from cookcam.identity import Authenticator
from cookcam.lifecycle.state import Lifecycle
from cookcam.observability.logging import get_logger
from cookcam.observability.metrics import Metrics
from cookcam.observability.reports import ErrorReporter, NoReports
from cookcam.realtime.accounts import REASON
from cookcam.realtime.admission import NameOf, Reception
from cookcam.realtime.bus import Bus
from cookcam.realtime.closing import CloseCode
from cookcam.realtime.engineio import Goodbyes, Receive, Request, Scope, Send
from cookcam.realtime.engineio.heartbeats import Heartbeats
from cookcam.realtime.engineio.origins import Origins
from cookcam.realtime.events import Event, Events
from cookcam.realtime.gateway import Gateway
from cookcam.realtime.hub import Hub
from cookcam.realtime.limits import Limits, all_events, handshakes
from cookcam.realtime.notice import give_notice
from cookcam.realtime.plain.server import PlainGateway
from cookcam.realtime.refusals import refuse
from cookcam.realtime.relay import Relay
from cookcam.realtime.router import Router
from cookcam.realtime.tokens import TokenWatch, token_events

SOCKET_IO: Final = "/socket.io"
PLAIN_PATH: Final = f"{CANONICAL}/realtime"

GOODBYE_TIMEOUT: Final = 3.0
"""Seconds from the start of the drain until the last socket is closed or cut: those of phases 2
and 3 in `spec/realtime.md` §8."""
GOODBYE_EACH: Final = 0.001
"""Seconds that each socket adds to the bound: our own time, which nobody is to be cut for."""
BATCH: Final = 500

Status = Literal["active", "draining", "disabled"]


@define(eq=False)
class Realtime:
    """See the module's description. Build it with `open`."""

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
        clock: Callable[[], float] = time.time,
    ) -> AsyncGenerator[Realtime]:
        """Nobody is let in while `lifecycle` drains. `clock` gives seconds since the epoch.

        `bus` leads to the other instances; without one this process is alone. `name_of` finds
        the name by which others see a user; without it, that is the one in the token.

        `notice` and `drain` part in order. Without them, leaving cuts the Socket.IO sessions;
        a plain connection is a request of the server that carries it and ends with that.
        """
        realtime = cls.of(
            config,
            authenticator,
            lifecycle,
            metrics or Metrics(),
            reporter or NoReports(),
            name_of,
        )
        failure: BaseException | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(TokenWatch(realtime.hub, clock).run)
            nursery.start_soon(realtime._plain.heartbeats.run)
            nursery.start_soon(realtime._plain.pace.run)
            if bus is not None and config.realtime.enabled:
                nursery.start_soon(Relay(realtime.hub, bus).run)
            async with realtime._gateway.server:
                try:
                    yield realtime
                except BaseException as error:
                    # Raised again outside of the nurseries, which would wrap it in groups.
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
        name_of: NameOf | None = None,
    ) -> Realtime:
        """The parts, put together and not yet running."""
        settings = config.realtime
        hub, limits = Hub(settings.max_per_user), Limits()
        router = Router.of(
            all_events(settings),
            bound=config.server.request_timeout,
            metrics=metrics,
            limits=limits,
            reporter=reporter,
        )
        reception = Reception(
            hub,
            router,
            authenticator,
            lifecycle,
            limits,
            handshakes(settings) if config.limits.enabled else None,
            metrics,
            reporter,
            name_of,
        )
        router.include(token_events(authenticator, reception.named))
        return cls(
            hub,
            config,
            lifecycle,
            router,
            Gateway.of(settings, reception),
            PlainGateway(reception, Heartbeats(settings.ping_interval, settings.ping_timeout)),
            Origins(config.server.cors_origins),
        )

    def include(self, events: Events) -> None:
        """Adds the events of a feature. Raises ValueError for a name that is taken."""
        self._router.include(events)

    @property
    def events(self) -> Mapping[str, Event]:
        """Those that clients may send, by name."""
        return self._router.events

    # -- ASGI

    def handles(self, scope: Scope) -> bool:
        """Whether a connection belongs to the live channel, open or not."""
        kind, path = scope["type"], canonical(scope["path"])
        return (kind in ("http", "websocket") and path == SOCKET_IO) or (
            kind == "websocket" and path == PLAIN_PATH
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._config.realtime.enabled:
            await refuse(scope, send, NotFound("Real-time service is disabled"))
        elif scope["type"] == "http":
            await self._gateway.server(scope, receive, send)
        elif not self._admits_origin(scope):
            await refuse(scope, send, AuthorizationError("Origin not allowed"))
        elif canonical(scope["path"]) == PLAIN_PATH:
            await self._plain(scope, receive, send)
        else:
            await self._gateway.server(scope, receive, send)

    # -- accounts

    def close_account(self, user_id: UUID) -> int:
        """Ends all connections of a user whose account is disabled or deleted, on every instance,
        with 4403; returns how many of this one. Never waits.

        A ban or deletion in the database is found without this (`cookcam.realtime.accounts`).
        """
        return self.hub.close_user(user_id, CloseCode.FORBIDDEN, REASON)

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
        """Sends `server_shutdown` to every socket. The lifecycle drains by now, so that no new
        one is let in.

        A client that polls is told together with the goodbye where that follows at once: after
        one answer it may find nobody to ask for another.
        """
        goodbye_follows = self._config.drain.notice == 0
        for index, connection in enumerate(self.hub.connections):
            if not (connection.polling and goodbye_follows):
                give_notice(connection)
            if index % BATCH == BATCH - 1:
                await trio.lowlevel.checkpoint()

    async def drain(self) -> None:
        """Closes every socket in its own protocol; returns when all are gone, at the latest after
        GOODBYE_BOUND seconds and GOODBYE_EACH for each, when those are cut that did not answer."""
        if not self._config.realtime.enabled:
            return
        bound = GOODBYE_TIMEOUT + GOODBYE_EACH * self.connections()
        if self.connections() > BATCH:
            # The process is about to end, and to look for cycles among the remains of so many
            # sockets would take a fifth of the time of their drain: what is here now is not
            # looked at again.
            gc.freeze()
        self._log.info("Closing WebSocket connections...", connections=self.connections())
        farewells: list[Goodbyes] = []

        async def part(drain: Callable[[float], Any]) -> None:
            farewells.append(await drain(bound))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(part, self._gateway.drain)
            nursery.start_soon(part, self._plain.drain)
        total = sum(farewells, Goodbyes())
        self._log.info("All WebSocket connections closed", clean=total.clean, cut=total.cut)

    def _admits_origin(self, scope: Scope) -> bool:
        """Web pages may connect from the listed origins; native apps name none."""
        return self._origins.admits(Request(scope, {}))
