"""The WebSocket transport: one connection that reads and writes for a session.

The ASGI task is the reader, and the writer's task is its child, so the connection's cancel scope
limits both. When the session ends, the writer sends the rest of the outbox and the close frame, and
the peer has the close timeout to respond.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import trio

from .asgi import Receive, Send
from .direct import Close, DirectExtension, DirectWrite
from .outbox import Message
from .packets import PING, PONG, UPGRADE, Frame, Packet, PacketError, decode_frame, is_larger_than
from .session import PROTOCOL_ERROR, TOO_BIG, Session, State
from .writer import Writer, WriteScheduler

_PROBE = "probe"


class _PeerDisconnected(Exception):
    """The peer has closed or dropped the connection."""


async def carry(
    session: Session,
    receive: Receive,
    send: Send,
    read_limit: int,
    *,
    extension: DirectExtension,
    write: DirectWrite | None,
    scheduler: WriteScheduler,
) -> None:
    """Serves a session over an accepted connection until both have ended. Raises only Cancelled.

    `write` is the direct write of this connection, None when the server does not offer it.
    """

    async def send_message(message: Message) -> None:
        for frame in message.frames:
            await send_frame(send, frame)

    def goodbye() -> Close | None:
        # The reason is set when the session ends.
        return None if session.reason is None else session.goodbye

    try:
        async with trio.open_nursery() as nursery:
            session.attach(nursery.cancel_scope)
            writer = Writer(
                session.outbox,
                nursery,
                scheduler,
                extension,
                write,
                send,
                send_message,
                goodbye,
                session.lose,
            )
            writer.start()
            try:
                await _read(session, receive, read_limit)
            finally:
                writer.stop()
            session.lose(clean=session.state is State.CLOSING)
            nursery.cancel_scope.cancel()
    finally:
        session.lose()


async def probe(
    session: Session, receive: Receive, send: Send, read_limit: int, timeout: float
) -> bool:
    """Upgrades a polling session (engine.io protocol, "Upgrade"); True when it succeeds.

    A probe that fails or takes longer than `timeout` leaves the session on polling.
    """
    session.probing = True
    try:
        with trio.move_on_after(timeout) as scope:
            session.attach(scope)
            await _expect(receive, Packet(PING, _PROBE), read_limit)
            session.upgrading = True
            await send_frame(send, PONG + _PROBE)
            session.outbox.wake()  # a waiting poll ends now: the client pauses polling first
            await _expect(receive, Packet(UPGRADE), read_limit)
            if session.state is not State.CLOSED:  # a closing session sends its goodbye here
                session.transport = "websocket"
                return True
    except _PeerDisconnected:
        return False
    except PacketError:
        pass
    finally:
        session.probing = session.upgrading = False
        session.outbox.wake()
    await send_close(send, PROTOCOL_ERROR)
    return False


async def send_frame(send: Send, frame: Frame) -> None:
    """Writes one frame through ASGI."""
    kind = "text" if isinstance(frame, str) else "bytes"
    await send({"type": "websocket.send", kind: frame})


async def send_close(send: Send, code: int) -> None:
    await send({"type": "websocket.close", "code": code})


async def _read(session: Session, receive: Receive, read_limit: int) -> None:
    """Until the peer has closed."""
    with suppress(_PeerDisconnected):
        while True:
            # Not in a variable, which would hold the last message while waiting for the next.
            await _take(session, await _next_frame(receive), read_limit)


async def _take(session: Session, frame: Frame, read_limit: int) -> None:
    if session.state is not State.OPEN:
        return  # only the close matters now
    try:
        await session.receive(_decode(frame, read_limit))
    except _TooBig:
        session.abort("transport error", TOO_BIG)
    except PacketError:
        session.abort("parse error", PROTOCOL_ERROR)


async def _expect(receive: Receive, packet: Packet, read_limit: int) -> None:
    if _decode(await _next_frame(receive), read_limit) != packet:
        raise PacketError(f"expected {packet}")


async def _next_frame(receive: Receive) -> Frame:
    message: Any = await receive()
    if message["type"] == "websocket.disconnect":
        raise _PeerDisconnected
    text: str | None = message.get("text")
    return message["bytes"] if text is None else text


class _TooBig(PacketError):
    """The message is over the limit of the session."""


def _decode(frame: Frame, read_limit: int) -> Packet:
    if is_larger_than(read_limit, frame):
        raise _TooBig
    return decode_frame(frame)
