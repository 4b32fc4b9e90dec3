"""`app` for a plain `hypercorn -k trio cookcam.app.asgi:app`, without `cookcam serve`.

The same services and routes as `cookcam serve`, opened and closed by ASGI's lifespan. Hypercorn
owns the connections then: at a signal it closes its listeners and drops WebSockets before it
notifies the application. So this form cannot send a shutdown notice, drain sockets or serve the
accept queue; docs/deployment.md lists the differences.
"""

from __future__ import annotations

import signal
from typing import Any

import structlog
import trio

from cookcam.config import ConfigError, load, read_environment
from cookcam.lifecycle.background import Background
from cookcam.lifecycle.state import Lifecycle, Phase
from cookcam.lifecycle.work import Work
from cookcam.observability.logging import configure_logging, instance_fields

SOCKETS_TIMEOUT = 5.0


class LifespanApp:
    """ASGI: the services live from `lifespan.startup` to `lifespan.shutdown`."""

    def __init__(self) -> None:
        self._edge: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._edge(scope, receive, send)

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        try:
            config = load(read_environment())
        except ConfigError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        configure_logging(
            config.environment, config.observability.log_level, instance=instance_fields(config)
        )
        log = structlog.get_logger("cookcam")
        log.info("Environment validation successful", **config.summary())
        from cookcam.app import TaskReports, open_services

        lifecycle, work = Lifecycle(), Work()
        async with open_services(config, lifecycle) as services, trio.open_nursery() as nursery:
            nursery.start_soon(_stop_hypercorn, lifecycle)
            reports = TaskReports(services.metrics, services.reporter)
            background = Background(work, services.background, reports)
            await nursery.start(background.run)
            self._edge = services.app
            lifecycle.enter(Phase.SERVING)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            lifecycle.enter(Phase.NOTICE)
            with trio.move_on_after(SOCKETS_TIMEOUT):
                await services.realtime.notice()
                await services.realtime.drain()
            await background.drain()
            nursery.cancel_scope.cancel()
        await send({"type": "lifespan.shutdown.complete"})


async def _stop_hypercorn(lifecycle: Lifecycle) -> None:
    """An operator stops the server by Hypercorn's own signal."""
    await lifecycle.stop.wait()
    signal.raise_signal(signal.SIGTERM)


app = LifespanApp()
