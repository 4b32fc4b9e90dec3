"""A plain WebSocket connection: its outbox, its writer and its end.

    hub, handlers ──deliver──▶ outbox ──writer──▶ client

The reader is the gateway's. All of it runs under one cancel scope, which `close` gives a deadline.
"""

from __future__ import annotations

import enum
from typing import ClassVar, Final

import orjson
import trio
from attrs import define, field

from cookcam.http.responses import to_json
from cookcam.realtime.admission import SLOW_CONSUMER
from cookcam.realtime.announcement import Announcement
from cookcam.realtime.closing import CloseCode
from cookcam.realtime.connection import Connection
from cookcam.realtime.engineio import Message, Send
from cookcam.realtime.engineio.direct import Close, Write
from cookcam.realtime.engineio.outbox import Outbox
from cookcam.realtime.engineio.pace import Pace
from cookcam.realtime.engineio.writer import Writer
from cookcam.realtime.frames import RequestId, encode_frame
from cookcam.realtime.socketio.jobs import Jobs
from cookcam.serving.extensions import WEBSOCKET_PING

PROTOCOL: Final = "plain"
OUTBOX_LIMIT: Final = 256
"""Events; source: `spec/realtime.md` §6."""
CLOSE_TIMEOUT: Final = 5.0
"""Seconds that a close may take: what is queued, our close frame, the peer's."""

PEER_LEFT = "transport close"

_PING: Final = Message(())
"""The WebSocket's own ping."""


class State(enum.Enum):
    OPEN = "open"
    CLOSING = "closing"
    OVER = "over"


@define(eq=False)
class PlainConnection(Connection):
    protocol: ClassVar[str] = PROTOCOL
    scope: trio.CancelScope = field(factory=trio.CancelScope, init=False, repr=False)
    """Of everything that belongs to this connection."""
    jobs: Jobs = field(init=False, repr=False)
    """Its events, handled one after the other. From `start` on."""
    state: State = field(default=State.OPEN, init=False)
    code: CloseCode = field(default=CloseCode.NORMAL, init=False, repr=False)
    reason: str = field(default=PEER_LEFT, init=False)
    retiring: bool = field(default=False, init=False, repr=False)
    """Takes no more events, and handles those it took."""
    malformed: int = field(default=0, init=False, repr=False)
    """Frames in a row that were no JSON object."""
    clean: bool = field(default=False, init=False, repr=False)
    """Whether the peer left by itself or answered our close."""
    over: trio.Event = field(factory=trio.Event, init=False, repr=False)
    _outbox: Outbox = field(factory=lambda: Outbox(OUTBOX_LIMIT), init=False, repr=False)
    _send: Send = field(init=False, repr=False)
    _writer: Writer = field(init=False, repr=False)

    def deliver(self, announcement: Announcement) -> bool:
        return self._put(announcement.plain)

    def reply(self, event: str, body: object, reply_to: RequestId | None) -> bool:
        """The direct answer to a frame of the client."""
        frame = encode_frame(event, orjson.Fragment(to_json(body)), reply_to)
        return self._put(Message((frame,)))

    def answer(self, announcement: Announcement, reply_to: RequestId | None) -> bool:
        """As `reply`, for what is encoded already."""
        frame = encode_frame(announcement.event, announcement.body, reply_to)
        return self._put(Message((frame,)))

    def start(self, nursery: trio.Nursery, send: Send, write: Write | None, pace: Pace) -> None:
        """Begins to write and to handle events, by tasks of `nursery` that exist only while there
        is something to do. `write` is the server's offer to write directly, if it makes one."""
        self.jobs = Jobs(nursery)
        self._send = send
        self._writer = Writer(
            self._outbox,
            nursery,
            pace,
            write,
            send,
            self._send_message,
            self._goodbye,
            self.scope.cancel,
        )
        self._writer.start()

    def stop(self) -> None:
        """Writes no more."""
        self._writer.stop()

    async def retire(self, code: CloseCode, reason: str) -> None:
        """Closes in order once the events it took are handled."""
        self.retiring = True
        await self.jobs.settled()
        self.close(code, reason)

    def peer_left(self) -> None:
        """Nothing more can be said."""
        self.clean = True
        self._hub.remove(self)
        self.state = State.OVER

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
