"""One Engine.IO session and the sockets it carries: from messages to packets to sockets."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define, field

from cookcam.realtime.engineio import Message, Session

from .history import Absent
from .namespace import Namespace
from .packets import DecodeError, Decoder, Packet, PacketOverLimit, PacketType
from .socket import Socket, State

_MAX_BACKLOG: Final = 64
"""Events of one socket that may wait for their handlers before reading stops."""

OnError = Callable[[Socket, str, Exception], None]


@define(eq=False)
class Connection:
    """Runs as the handler of its session."""

    session: Session
    namespaces: Mapping[str, Namespace] = field(repr=False)
    connect_timeout: float
    linger: float
    report: OnError = field(repr=False)
    _decoder: Decoder = field(alias="decoder", repr=False)
    sockets: dict[str, Socket] = field(factory=dict[str, Socket], init=False)
    """The latest of each namespace; one that has ended stays until the client returns."""
    _retiring: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Until the session ends; events of its sockets that are being handled are left to run
        beside it."""
        self._expect_connect()
        try:
            await self._read()
        finally:
            reason = self.session.reason or "server shutting down"
            present = self._present()
            for socket in present[1:]:
                socket.end(reason)
            for socket in present[:1]:  # nearly always the only one
                await socket.end_with_session(reason)

    @property
    def busy(self) -> bool:
        """Whether events it received are being handled, or will be."""
        return self.session.unheard or any(socket.busy for socket in self._present())

    async def retire(self, reason: str, code: int, *, goodbye: bool) -> None:
        """Parts in order: those events that were received are handled, no more are taken, then come
        the goodbye of each socket and the close of the session."""
        await self.session.heard()
        self._retiring = True
        for socket in self._present():
            await socket.settled()
        self.part(reason, code, goodbye=goodbye)
        await self.session.closed()

    def part(self, reason: str, code: int, *, goodbye: bool) -> None:
        """The goodbye alone, for one that is not busy."""
        last = [
            socket.namespace.goodbye
            for socket in self.sockets.values()
            if goodbye and socket.connected
        ]
        self.session.close(reason, code, *last)

    def left(self) -> None:
        """Called by a socket that has ended."""
        if not self._present():
            self._expect_connect()

    def _present(self) -> list[Socket]:
        return [socket for socket in self.sockets.values() if socket.state is not State.ENDED]

    def _expect_connect(self) -> None:
        self.session.expire(self.connect_timeout)

    async def _read(self) -> None:
        try:
            async for message in self.session:
                await self._take(message)
                # The handshake holds a token; nothing is kept while the next message is awaited.
                del message
        except DecodeError:
            self.session.abort("parse error")

    async def _take(self, message: str | bytes) -> None:
        try:
            packet = self._decoder.feed(message)
        except PacketOverLimit as error:
            await self._drop(error)
        else:
            if packet is not None:
                await self._dispatch(packet)

    async def _drop(self, error: PacketOverLimit) -> None:
        """Answers a packet over a limit. Raises DecodeError where nothing in the namespace does."""
        socket = self.sockets.get(error.packet.namespace)
        if error.packet.type is PacketType.CONNECT:
            self._refuse_connect(error.packet.namespace, error.reason)
        elif socket is None or socket.namespace.over_limit_handler is None:
            raise DecodeError(error.reason)
        elif not self._retiring:
            socket.receive_over_limit(error)
            await self._limit_backlog(socket)

    async def _dispatch(self, packet: Packet) -> None:
        if packet.type is PacketType.CONNECT:
            await self._connect(packet)
            return
        socket = self.sockets.get(packet.namespace)
        if packet.type is PacketType.CONNECT_ERROR or socket is None:
            raise DecodeError("the client must connect to a namespace first")
        if packet.type is PacketType.ACK:
            socket.receive_answer(packet)
        elif packet.type is PacketType.DISCONNECT:
            socket.end("client namespace disconnect")
        elif not self._retiring:
            # One that has ended drops it: the event was under way.
            socket.receive_event(packet)
            await self._limit_backlog(socket)

    async def _limit_backlog(self, socket: Socket) -> None:
        if socket.backlog >= _MAX_BACKLOG:
            await socket.settled()

    async def _connect(self, packet: Packet) -> None:
        namespace = self.namespaces.get(packet.namespace)
        if namespace is None:
            self._refuse_connect(packet.namespace, "Invalid namespace")
            return
        previous = self.sockets.get(namespace.name)
        if previous is not None:
            if previous.state is not State.ENDED:
                raise DecodeError("connected to this namespace already")
            await previous.settled()
        auth: dict[str, Any] = dict(packet.data or {})
        absent = self._claim(namespace, auth)
        if absent is None:
            history = namespace.history
            recoverable = history is not None and history.options.are_for(auth)
            socket = Socket(namespace, self, recoverable=recoverable)
        else:
            socket = Socket.returning(namespace, self, absent)
        self.sockets[namespace.name] = socket
        self.session.expire(math.inf)
        socket.start(auth)

    def _refuse_connect(self, namespace: str, message: str) -> None:
        refusal = Packet(PacketType.CONNECT_ERROR, namespace, {"message": message})
        self.session.send_message(Message.of(*refusal.encode()))

    def _claim(self, namespace: Namespace, auth: dict[str, Any]) -> Absent | None:
        """What the client wants to recover; its two keys are taken out of the handler's sight."""
        if namespace.history is None:
            return None
        pid, offset = auth.pop("pid", None), auth.pop("offset", None)
        if pid is None:
            return None
        if isinstance(pid, str) and (same := namespace.recoverable.get(pid)) is not None:
            # Its client found out before we did that the connection was lost.
            same.session.abort("transport close")
            same.end("transport close")
        # One less than the outbox holds, for the acceptance itself.
        limit = self.session.outbox.limit - 1
        return namespace.history.claim(pid, offset, limit)
