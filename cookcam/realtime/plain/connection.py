"""A plain WebSocket connection: outbox, writer and close.

    hub, handlers ──deliver──▶ outbox ──writer──▶ client

The gateway reads. Reader and writer run under one cancel scope, for which `close` sets a deadline.
"""

from __future__ import annotations

import enum
from typing import ClassVar, Final

import trio
from attrs import define, field

from cookcam.realtime.admission import SLOW_CONSUMER
from cookcam.realtime.connection import CloseCode, Connection
from cookcam.realtime.engineio import DirectExtension, Message, Send
from cookcam.realtime.engineio.direct import Close, DirectWrite
from cookcam.realtime.engineio.outbox import Outbox
from cookcam.realtime.engineio.writer import Writer, WriteScheduler
from cookcam.realtime.frames import RequestId, encode_frame
from cookcam.realtime.server_events import ServerEvent
from cookcam.realtime.socketio.work_queue import WorkQueue
from cookcam.serving.extensions import WEBSOCKET_PING

PROTOCOL: Final = "plain"
OUTBOX_LIMIT: Final = 256
"""Events."""
CLOSE_TIMEOUT: Final = 5.0
"""Seconds for a close: queued events, our close frame and the peer's."""

PEER_DISCONNECTED = "transport close"

_PING: Final = Message(())
"""A WebSocket ping."""


class State(enum.Enum):
    OPEN = "open"
    CLOSING = "closing"
    ENDED = "ended"


@define(eq=False)
class PlainConnection(Connection):
    protocol: ClassVar[str] = PROTOCOL
    scope: trio.CancelScope = field(factory=trio.CancelScope, init=False, repr=False)
    """The cancel scope of the reader and the nursery of this connection."""
    work: WorkQueue = field(init=False, repr=False)
    """Its events, handled sequentially. Set by `start`."""
    state: State = field(default=State.OPEN, init=False)
    code: CloseCode = field(default=CloseCode.NORMAL, init=False, repr=False)
    reason: str = field(default=PEER_DISCONNECTED, init=False)
    draining: bool = field(default=False, init=False, repr=False)
    """New events are ignored; received ones are handled."""
    malformed: int = field(default=0, init=False, repr=False)
    """Consecutive frames that were not JSON objects."""
    clean: bool = field(default=False, init=False, repr=False)
    """Whether the peer disconnected or responded to our close."""
    ended: trio.Event = field(factory=trio.Event, init=False, repr=False)
    _outbox: Outbox = field(factory=lambda: Outbox(OUTBOX_LIMIT), init=False, repr=False)
    _send: Send = field(init=False, repr=False)
    _writer: Writer = field(init=False, repr=False)

    @property
    def queued(self) -> int:
        return len(self._outbox)

    def deliver(self, event: ServerEvent) -> bool:
        return self._put(event.plain)

    def respond(self, event: ServerEvent, reply_to: RequestId | None) -> bool:
        """Sends the response to a frame of the client."""
        return self._put(Message((encode_frame(event.event, event.body, reply_to),)))

    def start(
        self,
        nursery: trio.Nursery,
        send: Send,
        extension: DirectExtension,
        write: DirectWrite | None,
        scheduler: WriteScheduler,
    ) -> None:
        """Starts to write and to handle events, in tasks of `nursery` that exist only while there
        is work. `write` is the server's direct write, None when it does not offer one."""
        self.work = WorkQueue(nursery)
        self._send = send
        self._writer = Writer(
            self._outbox,
            nursery,
            scheduler,
            extension,
            write,
            send,
            self._send_message,
            self._goodbye,
            self.scope.cancel,
        )
        self._writer.start()

    def stop(self) -> None:
        """Stops writing."""
        self._writer.stop()

    async def drain(self, code: CloseCode, reason: str) -> None:
        """Handles the received events, then closes."""
        self.draining = True
        await self.work.wait_idle()
        self.close(code, reason)

    def peer_disconnected(self) -> None:
        self.clean = True
        self._hub.remove(self)
        self.state = State.ENDED

    # -- for the heartbeat

    def ping(self) -> None:
        self._outbox.put_control(_PING)

    def ping_timed_out(self) -> None:
        self.close(CloseCode.SERVER_FAULT, "ping timeout")

    async def _send_message(self, message: Message) -> None:
        if message is _PING:
            await self._send({"type": WEBSOCKET_PING})
        for frame in message.frames:
            await self._send({"type": "websocket.send", "text": frame})

    def _goodbye(self) -> Close | None:
        return None if self.state is State.OPEN else Close(int(self.code), self.reason)

    def _put(self, message: Message) -> bool:
        if self.state is not State.OPEN:
            return False
        if self._outbox.put(message):
            return True
        if not message.volatile:
            self._outbox.clear()
            self.close(CloseCode.TOO_SLOW, SLOW_CONSUMER)
        return False

    def _close(self, code: CloseCode, reason: str) -> None:
        if self.state is State.OPEN:
            self.state, self.code, self.reason = State.CLOSING, code, reason
            self.scope.deadline = trio.current_time() + CLOSE_TIMEOUT
            self._outbox.wake()
