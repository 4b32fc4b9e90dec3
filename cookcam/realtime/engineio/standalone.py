"""An ASGI app that consists only of Engine.IO and Socket.IO servers, for any ASGI server on Trio.

In a larger program, open the servers in its nursery and call them with the scopes of their paths.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Protocol

from .asgi import ASGIApp, Receive, Response, Scope, Send


class Server(AbstractAsyncContextManager[Any], Protocol):
    """An `EngineServer` or `SocketServer`."""

    def handles(self, path: str) -> bool: ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


def standalone(*servers: Server) -> ASGIApp:
    """Serves each server on its path; they are open during the ASGI lifespan."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        for server in servers:
            if server.handles(scope["path"]):
                await server(scope, receive, send)
                return
        await Response(404).send(scope, send)

    async def lifespan(receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as stack:
            for server in servers:
                await stack.enter_async_context(server)
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    return app
