"""The WebSocket transport: one connection that reads and writes for a session, or takes it over.

The reader is the ASGI task itself, and the writer a child of it that exists only while there is
something to write, so that the connection's scope bounds both and an idle one costs one task.
Once the session ends, the writer sends what is left and the close frame, and the peer has the
close timeout to answer it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import trio
from attrs import define

from .asgi import Receive, Send
from .packets import PING, PONG, UPGRADE, Frame, Packet, PacketError, decode_frame
from .session import PROTOCOL_ERROR, TOO_BIG, Session, State

_PROBE = "probe"


class _Gone(Exception):
    """The peer has closed or dropped the connection."""


async def carry(session: Session, receive: Receive, send: Send, max_payload: int) -> None:
    """Serves a session over an accepted connection until both are over. Never raises but when
    cancelled."""
    try:
        async with trio.open_nursery() as nursery:
            session.attach(nursery.cancel_scope)
            writer = _Writer(session, send, nursery)
            session.outbox.on_change = writer.wake
            writer.wake()
            await _read(session, receive, max_payload)
            session.outbox.on_change = None
            session.lose(clean=session.state is State.CLOSING)
            nursery.cancel_scope.cancel()
    finally:
        session.outbox.on_change = None
        session.lose()


async def probe(
    session: Session, receive: Receive, send: Send, max_payload: int, timeout: float
) -> bool:
    """The upgrade of a polling session (engine.io protocol, "Upgrade"); True when it is done.

    A probe that fails or takes longer than `timeout` leaves the session on polling.
    """
    session.probing = True
    try:
        with trio.move_on_after(timeout) as scope:
            session.attach(scope)
            await _expect(receive, Packet(PING, _PROBE), max_payload)
            session.upgrading = True
            await send_frame(send, PONG + _PROBE)
            session.outbox.wake()  # a waiting poll ends now: the client pauses polling first
            await _expect(receive, Packet(UPGRADE), max_payload)
            if session.state is not State.CLOSED:  # what closes says the rest over the WebSocket
                session.transport = "websocket"
                return True
    except _Gone:
        return False
    except PacketError:
        pass
    finally:
        session.probing = session.upgrading = False
        session.outbox.wake()
    await send_close(send, PROTOCOL_ERROR)
    return False


async def send_frame(send: Send, frame: Frame) -> None:
    """Writes one frame: the only place where a message leaves for a WebSocket."""
    kind = "text" if isinstance(frame, str) else "bytes"
    await send({"type": "websocket.send", kind: frame})


async def send_close(send: Send, code: int, reason: str | None = None) -> None:
    await send({"type": "websocket.close", "code": code, "reason": reason})


@define(eq=False)
class _Writer:
    _session: Session
    _send: Send
    _nursery: trio.Nursery
    _busy: bool = False

    def wake(self) -> None:
        """Writes soon, unless it does already. Must not wait."""
        if not self._busy:
            self._busy = True
            self._nursery.start_soon(self._write)

    async def _write(self) -> None:
        outbox = self._session.outbox
        try:
            while (message := outbox.take()) is not None:
                for frame in message.frames:
                    await send_frame(self._send, frame)
                if message.pause_after:
                    await trio.sleep(message.pause_after)
            if self._session.state is State.OPEN:
                self._busy = False
            else:
                await send_close(self._send, self._session.code, self._session.reason)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            self._session.lose()  # some servers say so here, others only to the reader


async def _read(session: Session, receive: Receive, max_payload: int) -> None:
    """Until the peer has closed."""
    with suppress(_Gone):
        while True:
            frame = await _next_frame(receive)
            if session.state is not State.OPEN:
                continue  # only its close is of interest now
            try:
                await session.receive(_decode(frame, max_payload))
            except _TooBig:
                session.abort("transport error", TOO_BIG)
            except PacketError:
                session.abort("parse error", PROTOCOL_ERROR)


async def _expect(receive: Receive, packet: Packet, max_payload: int) -> None:
    if _decode(await _next_frame(receive), max_payload) != packet:
        raise PacketError(f"expected {packet}")


async def _next_frame(receive: Receive) -> Frame:
    message: Any = await receive()
    if message["type"] == "websocket.disconnect":
        raise _Gone
    text: str | None = message.get("text")
    return message["bytes"] if text is None else text


class _TooBig(PacketError):
    """The message is over the limit of the session."""


def _decode(frame: Frame, max_payload: int) -> Packet:
    # A character is one to four bytes: only what is near the limit needs counting.
    if len(frame) > max_payload or (
        isinstance(frame, str)
        and len(frame) * 4 > max_payload
        and len(frame.encode()) > max_payload
    ):
        raise _TooBig
    return decode_frame(frame)
