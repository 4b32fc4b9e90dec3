"""Which part serves a connection: the sockets or the routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import frozen

from cookcam.errors import NotFound
from cookcam.realtime.admission import send_rejection
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
            await send_rejection(scope, send, NotFound(f"Cannot GET {scope['path']}"))
        else:
            await self.app(scope, receive, send)
