"""Decodes the messages of one Engine.IO session and dispatches the packets to its sockets."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define, field

from cookcam.realtime.engineio import Message, Session
from cookcam.realtime.replay import AbsentSocket

from .namespace import Namespace
from .packets import DecodeError, Decoder, Packet, PacketOverLimit, PacketType
from .socket import Socket, State

_MAX_BACKLOG: Final = 64
"""Events of one socket that may wait for their handlers before reading pauses."""

OnError = Callable[[Socket, str, Exception], None]


@define(eq=False)
class PacketDispatcher:
    """The handler of one session."""

    session: Session
    namespaces: Mapping[str, Namespace] = field(repr=False)
    connect_timeout: float
    linger: float
    report: OnError = field(repr=False)
    _decoder: Decoder = field(alias="decoder", repr=False)
    sockets: dict[str, Socket] = field(factory=dict[str, Socket], init=False)
    """Namespace → its latest socket; an ended one stays until the client connects again."""
    _draining: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Reads until the session ends. Running event handlers continue beside it."""
        self._expect_connect()
        try:
            await self._read()
        finally:
            reason = self.session.reason or "server shutting down"
            active = self._active_sockets()
            for socket in active[1:]:
                socket.end(reason)
            for socket in active[:1]:  # usually the only one
                await socket.end_with_session(reason)

    @property
    def busy(self) -> bool:
        """Whether received events wait to be handled or are being handled."""
        return self.session.has_unhandled or any(socket.busy for socket in self._active_sockets())

    async def drain(self, reason: str, code: int, *, goodbye: bool) -> None:
        """Handles the received events, ignores new ones, then closes the session."""
        await self.session.received_all()
        self._draining = True
        for socket in self._active_sockets():
            await socket.wait_idle()
        self.close(reason, code, goodbye=goodbye)
        await self.session.closed()

    def close(self, reason: str, code: int, *, goodbye: bool) -> None:
        """Closes the session, with a disconnect packet for each socket if `goodbye`."""
        last = [
            socket.namespace.goodbye
            for socket in self.sockets.values()
            if goodbye and socket.connected
        ]
        self.session.close(reason, code, *last)

    def socket_ended(self) -> None:
        """Called by each socket when it ends."""
        if not self._active_sockets():
            self._expect_connect()

    def _active_sockets(self) -> list[Socket]:
        return [socket for socket in self.sockets.values() if socket.state is not State.ENDED]

    def _expect_connect(self) -> None:
        self.session.expire(self.connect_timeout)

    async def _read(self) -> None:
        try:
            async for message in self.session:
                await self._receive(message)
                # A connect packet has a token: do not hold it while waiting for the next message.
                del message
        except DecodeError:
            self.session.abort("parse error")

    async def _receive(self, message: str | bytes) -> None:
        try:
            packet = self._decoder.feed(message)
        except PacketOverLimit as error:
            await self._reject_over_limit(error)
        else:
            if packet is not None:
                await self._dispatch(packet)

    async def _reject_over_limit(self, error: PacketOverLimit) -> None:
        """Passes a packet over a limit to the handler for it. Raises DecodeError without one."""
        socket = self.sockets.get(error.packet.namespace)
        if error.packet.type is PacketType.CONNECT:
            self._reject_connect(error.packet.namespace, error.reason)
        elif socket is None or socket.namespace.over_limit_handler is None:
            raise DecodeError(error.reason)
        elif not self._draining:
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
            socket.receive_ack(packet)
        elif packet.type is PacketType.DISCONNECT:
            socket.end("client namespace disconnect")
        elif not self._draining:
            # A socket that has ended drops it.
            socket.receive_event(packet)
            await self._limit_backlog(socket)

    async def _limit_backlog(self, socket: Socket) -> None:
        if socket.backlog >= _MAX_BACKLOG:
            await socket.wait_idle()

    async def _connect(self, packet: Packet) -> None:
        namespace = self.namespaces.get(packet.namespace)
        if namespace is None:
            self._reject_connect(packet.namespace, "Invalid namespace")
            return
        previous = self.sockets.get(namespace.name)
        if previous is not None:
            if previous.state is not State.ENDED:
                raise DecodeError("connected to this namespace already")
            await previous.wait_idle()
        auth: dict[str, Any] = dict(packet.data or {})
        absent = self._claim(namespace, auth)
        if absent is None:
            replay = namespace.replay
            recoverable = replay is not None and replay.options.are_for(auth)
            socket = Socket(namespace, self, recoverable=recoverable)
        else:
            socket = Socket.recover(namespace, self, absent)
        self.sockets[namespace.name] = socket
        self.session.expire(math.inf)
        socket.start(auth)

    def _reject_connect(self, namespace: str, message: str) -> None:
        rejection = Packet(PacketType.CONNECT_ERROR, namespace, {"message": message})
        self.session.send_message(Message.of(*rejection.encode()))

    def _claim(self, namespace: Namespace, auth: dict[str, Any]) -> AbsentSocket | None:
        """The state that the client recovers. Removes the keys `pid` and `offset` from `auth`."""
        replay = namespace.replay
        if replay is None:
            return None
        pid, offset = auth.pop("pid", None), auth.pop("offset", None)
        if pid is None:
            return None
        if isinstance(pid, str) and (previous := replay.connected.get(pid)) is not None:
            # The client noticed the loss of its previous connection before the server.
            previous.session.abort("transport close")
            previous.end("transport close")
        limit = self.session.outbox.limit - 1  # one for the acceptance
        return replay.claim(pid, offset, limit)
