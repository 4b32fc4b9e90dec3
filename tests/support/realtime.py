"""The realtime service for tests: signed-in users, and clients of both protocols.

In memory (`live.plain(...)`, `live.socketio(...)`) for the virtual clock and for peers that do
not read; on a real port (`serving(live)`) for the real client libraries.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any
from uuid import UUID, uuid4

import msgspec
import structlog
import trio
from attrs import define, field, frozen

from cookcam.app.program import Dispatcher
from cookcam.config import Config, load
from cookcam.http.edge import Edge
from cookcam.http.rate_limit import RateLimits
from cookcam.identity import Authenticator
from cookcam.lifecycle.state import Lifecycle, Phase
from cookcam.observability.log_writers import LevelLogger, StreamLogWriter
from cookcam.observability.metrics import Metrics
from cookcam.observability.records import as_record, json_line
from cookcam.observability.reports import NoReports, ReportedRequest
from cookcam.realtime.admission import NameOf
from cookcam.realtime.connection import Connection
from cookcam.realtime.events import EventResponse, Events
from cookcam.realtime.limits import broadcast_quota
from cookcam.realtime.service import Realtime
from cookcam.serving.extensions import WEBSOCKET_PING, WEBSOCKET_PONG
from tests.identity.signers import NOW, PROJECT, Provider, claims, signer
from tests.support.asgi import Conversation, websocket
from tests.support.environments import DEVELOPMENT
from tests.support.serving import our_server

PLAIN_PATH = "/api/v1/realtime"
SOCKETIO_PATH = "/socket.io/"
WEBSOCKET = "EIO=4&transport=websocket"

Frame = dict[str, Any]


@define
class Clock:
    """Seconds since the epoch: those of the signer's project, moving with Trio's clock."""

    _began: float = field(factory=lambda: trio.current_time())

    def __call__(self) -> float:
        return NOW + trio.current_time() - self._began


@frozen
class ApiUser:
    """A user with an account."""

    id: UUID = field(factory=uuid4)
    name: str = "Ann"

    def token(self, lifetime: float = 3600, *, now: float = NOW, **changes: Any) -> str:
        """A valid token that ends `lifetime` seconds after `now`; `changes` are claims."""
        made = claims(
            sub=str(self.id),
            iat=now - 60,
            exp=now + lifetime,
            email=f"{self.id}@example.com",
            user_metadata={"name": self.name},
        )
        return signer("ES256").sign(
            {name: value for name, value in {**made, **changes}.items() if value is not None}
        )


class Note(msgspec.Struct):
    room: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    text: Annotated[str, msgspec.Meta(max_length=2000)] = ""


def sample_events(live: Live) -> Events:
    """Sample events: one for each way in which a handler can end."""
    events = Events("samples")

    @events.on("join", Note)
    async def join(caller: Connection, data: Note) -> EventResponse:
        caller.join(data.room)
        return EventResponse("joined", {"room": data.room, "userName": caller.user_name})

    @events.on("say", Note)
    async def say(caller: Connection, data: Note) -> None:
        payload = {"text": data.text, "userId": caller.user_id}
        live.hub.send_to_room(data.room, "said", payload, skip=caller)

    @events.on("shout", Note, quota=broadcast_quota(live.config.realtime))
    async def shout(caller: Connection, data: Note) -> None:
        live.hub.broadcast("shouted", {"text": data.text})

    @events.on("fail", Note)
    async def fail(caller: Connection, data: Note) -> None:
        raise live.failures[data.room]

    @events.on("unspeakable", Note)
    async def unspeakable(caller: Connection, data: Note) -> EventResponse:
        return EventResponse("unspeakable", {"what": object()})

    @events.on("wait", Note)
    async def wait(caller: Connection, data: Note) -> EventResponse:
        await trio.sleep(float(data.room))
        return EventResponse("waited", {"seconds": data.room})

    @events.on_recovered
    async def back(connection: Connection, rooms: Collection[str]) -> None:
        for room in rooms:
            if room in live.failures:
                raise live.failures[room]
            connection.join(room)

    @events.on_disconnect
    async def gone(connection: Connection, reason: str) -> None:
        live.departures.append((connection.user_id, set(connection.rooms), reason))

    return events


@define(eq=False)
class Plain:
    """A client of the plain protocol."""

    conversation: Conversation
    pings: list[float]

    async def send(self, event: str, data: Any = None, **more: Any) -> None:
        frame = {"event": event, **more} if data is None else {"event": event, "data": data, **more}
        await self.conversation.send(json.dumps(frame))

    async def send_raw(self, *frames: str | bytes) -> None:
        await self.conversation.send(*frames)

    async def receive(self) -> Frame:
        """The next frame. Raises `asgi.Closed`."""
        return json.loads(await self.conversation.receive())

    async def expect(self, event: str) -> Any:
        """The data of the next frame, which is of that event."""
        frame = await self.receive()
        assert frame["event"] == event, frame
        return frame["data"]

    async def ask(self, event: str, data: Any = None, request_id: str | int = "1") -> Frame:
        """The answer to a request."""
        await self.send(event, data, id=request_id)
        while (frame := await self.receive()).get("replyTo") != request_id:
            pass
        return frame

    async def pong(self) -> None:
        await self.conversation._to_app.send({"type": WEBSOCKET_PONG})

    async def close_code(self) -> int:
        return await self.conversation.close_code()

    async def leave(self) -> None:
        await self.conversation.disconnect()
        await self.conversation.over.wait()


@define(eq=False)
class SocketIO:
    """A client of Socket.IO, of raw frames. Pings are answered."""

    conversation: Conversation

    async def send_raw(self, *frames: str | bytes) -> None:
        await self.conversation.send(*frames)

    async def send(self, event: str, *args: Any) -> None:
        await self.conversation.send(f"42{json.dumps([event, *args])}")

    async def receive(self) -> str:
        while (frame := await self.conversation.receive()) == "2":
            await self.conversation.send("3")
        return str(frame)

    async def expect(self, event: str) -> Any:
        """The data of the next frame, which is of that event."""
        frame = await self.receive()
        assert frame.startswith("42["), frame
        name, data = json.loads(frame[2:])
        assert name == event, frame
        return data

    async def ask(self, event: str, *args: Any) -> Any:
        """The acknowledgement of an event."""
        await self.conversation.send(f"427{json.dumps([event, *args])}")
        while not (frame := await self.receive()).startswith("437"):
            pass
        (response,) = json.loads(frame[3:])
        return response

    async def close_code(self) -> int:
        return await self.conversation.close_code()

    async def leave(self) -> None:
        await self.conversation.disconnect()
        await self.conversation.over.wait()


@define(eq=False)
class Reports(NoReports):
    """An error reporter that records the errors."""

    captured: list[tuple[BaseException, ReportedRequest | None]] = field(factory=list)

    def capture_exception(
        self, error: BaseException, request: ReportedRequest | None = None
    ) -> str | None:
        self.captured.append((error, request))
        return "id"


@define(eq=False)
class Live:
    """The running realtime service."""

    config: Config
    lifecycle: Lifecycle
    metrics: Metrics
    provider: Provider
    now: Callable[[], float]
    name_of: NameOf | None = None
    failures: dict[str, Exception] = field(factory=dict)
    """What the event `fail` raises, by room."""
    departures: list[tuple[UUID, set[str], str]] = field(factory=list)
    written: io.StringIO = field(factory=io.StringIO, repr=False)
    reports: Reports = field(factory=Reports)
    realtime: Realtime = field(init=False, repr=False)

    @property
    def log(self) -> list[dict[str, Any]]:
        """The records logged so far, as production writes them."""
        return [json.loads(line) for line in self.written.getvalue().splitlines()]

    @property
    def hub(self) -> Any:
        return self.realtime.hub

    def token(self, person: ApiUser, lifetime: float = 3600, **changes: Any) -> str:
        return person.token(lifetime, now=self.now(), **changes)

    @asynccontextmanager
    async def plain_socket(
        self,
        *,
        headers: Mapping[str, str] | None = None,
        query: str = "",
        reading: bool = True,
        answers_pings: bool = True,
    ) -> AsyncIterator[Plain]:
        """An accepted plain WebSocket without any frames; raises `asgi.Rejected`."""
        pings: list[float] = []
        client: Plain | None = None

        async def app(scope: Any, receive: Any, send: Any) -> None:
            scope["extensions"][WEBSOCKET_PING] = {}

            async def observed(message: Any) -> None:
                if message["type"] != WEBSOCKET_PING:
                    await send(message)
                    return
                pings.append(trio.current_time())
                if answers_pings and client is not None:
                    await client.pong()

            await self.realtime(scope, receive, observed)

        pairs = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        async with websocket(app, PLAIN_PATH, query, pairs, reading=reading) as conversation:
            client = Plain(conversation, pings)
            yield client

    @asynccontextmanager
    async def plain(self, person: ApiUser, lifetime: float = 3600, **options: Any) -> Any:
        """A plain client that is connected."""
        headers = {"authorization": f"Bearer {self.token(person, lifetime)}"}
        async with self.plain_socket(headers=headers, **options) as client:
            await client.expect("connected")
            yield client

    @asynccontextmanager
    async def socketio_session(
        self, *, headers: Mapping[str, str] | None = None, reading: bool = True
    ) -> AsyncIterator[SocketIO]:
        """An open Engine.IO session over WebSocket; raises `asgi.Rejected`."""
        pairs = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        async with websocket(
            self.realtime, SOCKETIO_PATH, WEBSOCKET, pairs, reading=reading
        ) as conversation:
            assert str(await conversation.receive()).startswith("0{")
            yield SocketIO(conversation)

    @asynccontextmanager
    async def socketio(self, person: ApiUser, lifetime: float = 3600, **options: Any) -> Any:
        """A Socket.IO client that is connected."""
        async with self.socketio_session(**options) as client:
            await client.send_raw(f"40{json.dumps({'token': self.token(person, lifetime)})}")
            assert (await client.receive()).startswith("40{")
            await client.expect("connected")
            yield client

    async def shut_down(self) -> int:
        """Notice and drain, as `cookcam.lifecycle.shutdown` does it; the number of polling
        clients."""
        self.lifecycle.enter(Phase.NOTICE)
        await self.realtime.notice()
        self.lifecycle.enter(Phase.DRAINING)
        return await self.realtime.drain()


@asynccontextmanager
async def open_live(
    *,
    now: Callable[[], float] | None = None,
    name_of: NameOf | None = None,
    **environ: str,
) -> AsyncIterator[Live]:
    """The realtime service with the sample events. `environ` changes settings."""
    settings = load({**DEVELOPMENT, "APP_ENV": "test", **environ})
    provider = Provider([signer("ES256").jwk()])
    live = Live(settings, Lifecycle(Phase.SERVING), Metrics(), provider, now or Clock(), name_of)
    with logging_to(live.written):
        async with running(live):
            yield live


@asynccontextmanager
async def running(live: Live) -> AsyncIterator[None]:
    async with (
        Authenticator.open(
            live.provider,
            supabase_url=PROJECT,
            jwt_secrets=(),
            metrics=live.metrics,
            clock=live.now,
        ) as authenticator,
        Realtime.open(
            live.config,
            authenticator,
            live.lifecycle,
            metrics=live.metrics,
            reporter=live.reports,
            name_of=live.name_of,
            clock=live.now,
        ) as realtime,
    ):
        live.realtime = realtime
        realtime.include(sample_events(live))
        yield


@contextmanager
def logging_to(stream: io.StringIO) -> Iterator[None]:
    """Lets structlog write JSON lines to `stream`."""
    before = structlog.get_config()
    outlet = StreamLogWriter(stream)
    structlog.configure(
        processors=[as_record, json_line],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda name="": LevelLogger(outlet, outlet, name),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)


async def no_routes(scope: Any, receive: Any, send: Any) -> None:
    """An app without a route."""
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def serving(live: Live) -> AsyncIterator[str]:
    """The channel behind the edge on a real port; yields host and port."""
    edge = Edge(Dispatcher(no_routes, live.realtime), live.config, limits=RateLimits({}))
    async with our_server(edge, lifecycle=live.lifecycle) as (port, _):
        yield f"127.0.0.1:{port}"
