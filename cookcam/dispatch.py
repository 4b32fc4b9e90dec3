"""Which part serves a connection: the sockets or the routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import frozen

from cookcam.realtime.service import Realtime


@frozen
class Dispatcher:
    """ASGI: what the live channel claims goes there, everything else is a route of the app."""

    app: Callable[[Any, Any, Any], Awaitable[None]]
    realtime: Realtime

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.realtime.handles(scope):
            await self.realtime(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})  # before accepting: a 403
        else:
            await self.app(scope, receive, send)
