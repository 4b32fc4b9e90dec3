"""The Engine.IO server: an ASGI app that opens sessions and passes requests to them.

    async with EngineServer(handler) as server:
        await server(scope, receive, send)      # for every http and websocket scope on its path

`handler(session)` is called once for each session, as a task of the server's nursery.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack
from typing import Any, Self

import trio
from attrs import define, field, frozen

from . import polling, websocket
from .asgi import (
    Receive,
    Rejected,
    Request,
    Response,
    Scope,
    Send,
    bad_handshake_method,
    bad_request,
    connection_close,
    session_unknown,
    transport_unknown,
    unsupported_version,
)
from .direct import NO_DIRECT_WRITES, DirectExtension
from .failures import OnFailure, log_failure
from .heartbeats import Heartbeats
from .origins import Origins
from .outbox import Message, Outbox
from .packets import open_packet
from .session import GOING_AWAY, NORMAL, Session, TransportName
from .writer import WriteScheduler

Handler = Callable[[Session], Awaitable[None]]
Admit = Callable[[Request], Awaitable[None]]
RejectionFields = Callable[[Request, Rejected], Mapping[str, Any]]

PROTOCOL_REVISION = "4"


async def admit_all(_: Request) -> None:
    """The default `admit`."""


def no_fields(request: Request, rejected: Rejected) -> Mapping[str, Any]:
    """The default `rejection_fields`."""
    return {}


@frozen
class CloseCounts:
    """How many sessions were closed cleanly and how many were cut."""

    clean: int = 0
    """The outbox was delivered and the client acknowledged the close, or it had disconnected."""
    cut: int = 0

    @classmethod
    def of(cls, sessions: Collection[Session], reason: str) -> CloseCounts:
        """Counts ended sessions; those with another reason ended before and count as clean."""
        cut = sum(not session.clean and session.reason == reason for session in sessions)
        return cls(len(sessions) - cut, cut)

    def __add__(self, other: CloseCounts) -> CloseCounts:
        return CloseCounts(self.clean + other.clean, self.cut + other.cut)


@define(eq=False)
class EngineServer:
    """Times in seconds, sizes in bytes; the defaults are those of the reference server.

    `max_payload`: the maximum size of a message or POST body that is announced to clients.
    `read_limit`: the maximum size that is read, for a handler that responds to messages over
    `max_payload` itself; a larger message closes with 1009, a larger body gets 413. None:
    `max_payload`.
    `origins`: pages that may connect (see `Origins`); None checks nothing.
    `admit`: awaited before each handshake; may raise `Rejected`.
    `rejection_fields`: keys in the JSON of a rejected request besides `code` and `message`.
    `outbox_limit`: messages that may wait for a client before it counts as too slow.
    `close_timeout`: how long the closing handshake may take.
    `linger`: how long the handler of an ended session may continue.
    `direct`: the ASGI server's extension for direct writes.
    `on_failure`: receives errors of single sessions in the shared tasks.
    """

    handler: Handler = field(repr=False)
    path: str = field(default="/engine.io/", kw_only=True)
    ping_interval: float = field(default=25.0, kw_only=True)
    ping_timeout: float = field(default=20.0, kw_only=True)
    max_payload: int = field(default=1_000_000, kw_only=True)
    read_limit: int | None = field(default=None, kw_only=True)
    outbox_limit: int = field(default=256, kw_only=True)
    transports: Collection[TransportName] = field(default=("polling", "websocket"), kw_only=True)
    allow_upgrades: bool = field(default=True, kw_only=True)
    upgrade_timeout: float = field(default=10.0, kw_only=True)
    close_timeout: float = field(default=5.0, kw_only=True)
    linger: float = field(default=5.0, kw_only=True)
    origins: Collection[str] | None = field(default=None, kw_only=True)
    admit: Admit = field(default=admit_all, kw_only=True, repr=False)
    rejection_fields: RejectionFields = field(default=no_fields, kw_only=True, repr=False)

    direct: DirectExtension = field(default=NO_DIRECT_WRITES, kw_only=True, repr=False)
    on_failure: OnFailure = field(default=log_failure, kw_only=True, repr=False)

    draining: bool = field(default=False, init=False)
    """While true, handshakes get 503; open sessions continue."""
    _sessions: dict[str, Session] = field(factory=dict[str, Session], init=False, repr=False)
    _heartbeats: Heartbeats = field(init=False, repr=False)
    _scheduler: WriteScheduler = field(init=False, repr=False)
    _origins: Origins = field(init=False, repr=False)
    _nursery: trio.Nursery = field(init=False, repr=False)
    _stack: AsyncExitStack = field(factory=AsyncExitStack, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._heartbeats = Heartbeats(self.ping_interval, self.ping_timeout, self.on_failure)
        self._scheduler = WriteScheduler(on_failure=self.on_failure)
        self._origins = Origins(self.origins)

    async def __aenter__(self) -> Self:
        self._nursery = await self._stack.enter_async_context(trio.open_nursery())
        self._nursery.start_soon(self._heartbeats.run)
        self._nursery.start_soon(self._scheduler.run)
        return self

    async def __aexit__(self, *error: Any) -> None:
        """Ends every session at once. Call `close_all` first for a clean close."""
        self.draining = True
        for session in list(self.sessions):
            session.abort("server shutting down", GOING_AWAY)
        self._nursery.cancel_scope.cancel()
        await self._stack.__aexit__(*error)

    @property
    def _read_limit(self) -> int:
        return self.max_payload if self.read_limit is None else self.read_limit

    @property
    def sessions(self) -> Collection[Session]:
        """The open and closing sessions."""
        return self._sessions.values()

    def handles(self, path: str) -> bool:
        """Whether this server serves the path; a trailing slash is ignored."""
        return path.rstrip("/") == self.path.rstrip("/")

    async def close_all(
        self,
        code: int = GOING_AWAY,
        reason: str = "server shutting down",
        *,
        timeout: float,
    ) -> CloseCounts:
        """Rejects handshakes from now on and closes all sessions: outbox, goodbye, peer's close.

        Sessions that have not ended after `timeout` seconds are cut.
        """
        self.draining = True
        sessions = list(self._sessions.values())
        for session in sessions:
            session.close(reason, code)
        with trio.move_on_after(timeout):
            for session in sessions:
                await session.closed()
        for session in sessions:
            session.cut(reason, code)
        return CloseCounts.of(sessions, reason)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI. The scope must be `http` or `websocket`, and on this server's path."""
        try:
            request = Request.of(scope)
        except ValueError:
            rejected = bad_request()
            extra = self.rejection_fields(Request(scope, {}), rejected)
            await rejected.response(extra).send(scope, send)
            return
        try:
            if scope["type"] == "http":
                await self._http(request, receive, self._respond(request, send))
            else:
                await self._websocket(request, receive, send)
        except Rejected as rejected:
            response = rejected.response(self.rejection_fields(request, rejected))
            await self._respond(request, send)(response)

    def _respond(self, request: Request, send: Send) -> polling.Respond:
        cors = self._origins.headers(request)

        async def respond(response: Response) -> None:
            await response.with_headers(cors).send(request.scope, send)

        return respond

    async def _http(self, request: Request, receive: Receive, respond: polling.Respond) -> None:
        if request.method == "OPTIONS":
            await respond(self._origins.preflight(request))
            return
        transport = self._transport_of(request)
        sid = request.query.get("sid")
        if sid is None:
            await respond(await self._handshake(request, transport))
            return
        session = self._find(sid)
        if transport != session.transport:
            raise bad_request()
        if request.method == "GET":
            await polling.poll(session, receive, respond)
        elif request.method == "POST":
            await respond(await polling.post(session, request, receive, self._read_limit))
        else:
            raise bad_handshake_method()

    async def _handshake(self, request: Request, transport: TransportName) -> Response:
        if request.method != "GET":
            raise bad_handshake_method()
        if transport != "polling":
            raise bad_request()
        await self._check_handshake(request)
        session = self._open(request, transport)
        upgrades = ["websocket"] if self.allow_upgrades and "websocket" in self.transports else []
        return Response(200, self._open_packet(session, upgrades).encode())

    async def _websocket(self, request: Request, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        if self._transport_of(request) != "websocket":
            raise bad_request()
        if not self._origins.admits(request):
            raise Rejected()
        sid = request.query.get("sid")
        if sid is None:
            await self._check_handshake(request)
            await send({"type": "websocket.accept"})
            session = self._open(request, "websocket")
            session.outbox.put_control(Message.control(self._open_packet(session, [])))
        else:
            session = self._find(sid)
            await send({"type": "websocket.accept"})
            session.text_only |= _wants_text(request)
            if not await self._upgrade(session, receive, send):
                return
        await websocket.carry(
            session,
            receive,
            send,
            self._read_limit,
            extension=self.direct,
            write=self.direct.write_for(request.scope),
            scheduler=self._scheduler,
        )

    async def _upgrade(self, session: Session, receive: Receive, send: Send) -> bool:
        if session.transport == "websocket" or session.probing or not self.allow_upgrades:
            # Closed, not rejected: a session has one connection (protocol, "WebSocket").
            await websocket.send_close(send, NORMAL)
            return False
        return await websocket.probe(session, receive, send, self._read_limit, self.upgrade_timeout)

    async def _check_handshake(self, request: Request) -> None:
        if request.query.get("EIO") != PROTOCOL_REVISION:
            raise unsupported_version()
        await self.admit(request)
        if self.draining:
            raise Rejected("Server is shutting down", 4, 503, connection_close(request.scope))

    def _open(self, request: Request, transport: TransportName) -> Session:
        session = Session(
            id=secrets.token_urlsafe(15),
            request=request,
            transport=transport,
            outbox=Outbox(self.outbox_limit),
            heartbeats=self._heartbeats,
            close_timeout=self.close_timeout,
            linger=self.linger,
            forget=self._forget,
        )
        session.text_only = _wants_text(request)
        self._sessions[session.id] = session
        self._nursery.start_soon(session.run, self.handler)
        return session

    def _forget(self, session: Session) -> None:
        self._sessions.pop(session.id, None)

    def _find(self, sid: str) -> Session:
        if (session := self._sessions.get(sid)) is None:
            raise session_unknown()
        return session

    def _transport_of(self, request: Request) -> TransportName:
        for transport in self.transports:
            if request.query.get("transport") == transport:
                return transport
        raise transport_unknown()

    def _open_packet(self, session: Session, upgrades: list[str]) -> str:
        return open_packet(
            session.id, upgrades, self.ping_interval, self.ping_timeout, self.max_payload
        )


def _wants_text(request: Request) -> bool:
    """As in the reference server: any value but an empty one."""
    return bool(request.query.get("b64"))
