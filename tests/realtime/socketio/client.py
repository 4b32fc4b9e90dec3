"""A Socket.IO client of raw frames, in memory, over WebSocket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from attrs import frozen

from cookcam.realtime.socketio import SocketServer
from tests.support.asgi import Conversation, websocket

PATH = "/socket.io/"
WEBSOCKET = "EIO=4&transport=websocket"


@frozen
class Client:
    """Frames are those of Engine.IO: `42["event"]`. Pings are answered."""

    conversation: Conversation

    async def send(self, *frames: str | bytes) -> None:
        await self.conversation.send(*frames)

    async def receive(self) -> str | bytes:
        while (frame := await self.conversation.receive()) == "2":
            await self.send("3")
        return frame

    async def connect(self, namespace: str = "", **auth: Any) -> dict[str, Any]:
        """Connects to a namespace; what it was accepted with."""
        await self.send(f"40{namespace}{',' if namespace else ''}{json.dumps(auth)}")
        response = str(await self.receive())
        assert response.startswith(f"40{namespace}"), response
        return json.loads(response[response.index("{") :])

    async def close_code(self) -> int:
        return await self.conversation.close_code()

    async def leave(self) -> None:
        await self.conversation.disconnect()
        await self.conversation.over.wait()


@asynccontextmanager
async def opened(server: SocketServer, *, reading: bool = True) -> AsyncIterator[Client]:
    """A session that is connected to no namespace yet."""
    async with websocket(server, PATH, WEBSOCKET, reading=reading) as conversation:
        assert str(await conversation.receive()).startswith("0")
        yield Client(conversation)


@asynccontextmanager
async def connected(server: SocketServer, **auth: Any) -> AsyncIterator[Client]:
    """A client of the main namespace."""
    async with opened(server) as client:
        await client.connect(**auth)
        yield client
