"""What tests of the Engine.IO server do again and again, in memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from attrs import define, field

from cookcam.realtime.engineio import EngineServer, Session
from tests.support.asgi import Answer, Conversation, request, websocket

PATH = "/engine.io/"
WEBSOCKET = "EIO=4&transport=websocket"
POLLING = "EIO=4&transport=polling"


@define
class Recorder:
    """A handler that keeps its sessions and what they received."""

    sessions: list[Session] = field(factory=list)
    received: list[str | bytes] = field(factory=list)

    async def __call__(self, session: Session) -> None:
        self.sessions.append(session)
        async for data in session:
            self.received.append(data)

    @property
    def session(self) -> Session:
        return self.sessions[-1]


@asynccontextmanager
async def connected(server: EngineServer, *, reading: bool = True) -> AsyncIterator[Conversation]:
    """A WebSocket whose open packet has been read."""
    async with websocket(server, PATH, WEBSOCKET, reading=reading) as conversation:
        assert str(await conversation.receive()).startswith("0")
        yield conversation


async def open_polling(server: EngineServer) -> str:
    response = await request(server, "GET", PATH, POLLING)
    return json.loads(response.text[1:])["sid"]


async def poll(server: EngineServer, sid: str) -> Answer:
    return await request(server, "GET", PATH, f"{POLLING}&sid={sid}")


async def post(server: EngineServer, sid: str, body: str) -> Answer:
    return await request(server, "POST", PATH, f"{POLLING}&sid={sid}", body.encode())
