"""The port of a stand-in, taken before it is opened: its own address is in what it answers."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
from attrs import frozen
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio import serve  # pyright: ignore[reportUnknownVariableType] # has a bare dict


@frozen
class Listener:
    """A port at which an ASGI application can be served; `url` has no path."""

    url: str
    _socket: socket.socket

    @classmethod
    def open(cls, host: str, port: int) -> Listener:
        """Port 0 takes a free one. Raises OSError when the port is taken."""
        listener = socket.create_server((host, port))
        return cls(f"http://{host}:{listener.getsockname()[1]}", listener)

    @asynccontextmanager
    async def serving(self, app: Any, **settings: Any) -> AsyncGenerator[None]:
        """Serves until the block ends; answers when it begins. `settings` are Hypercorn's."""
        config = HypercornConfig.from_mapping(
            bind=[f"fd://{self._socket.detach()}"], errorlog=None, graceful_timeout=0.1, **settings
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve, app, config))
            yield
            nursery.cancel_scope.cancel()
