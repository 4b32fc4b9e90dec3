"""The long-polling transport: the client receives with a GET that waits, and sends with POSTs.

One of each at a time (engine.io protocol, "HTTP long-polling"): a second one ends the session, and
so does a disconnect during a GET, because its messages would be lost unnoticed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from .asgi import Receive, Request, Response, bad_request, connection_close
from .packets import NOOP, Frame, PacketError, decode_payload, encode_payload
from .session import Session, State

_UPGRADE_DELAY = 0.1
"""Seconds that a poll without messages waits for the end of an upgrade. The reference server ends
polls at this interval during an upgrade."""

_CLOSE_DELAY = 0.005
"""Seconds to wait for a disconnect that arrived directly after its request."""

Respond = Callable[[Response], Awaitable[None]]


class _TooLarge(Exception):
    """The body is over the limit of the session."""


async def poll(session: Session, receive: Receive, respond: Respond) -> None:
    """GET: responds with the queued messages, or waits for one.

    The last response of a closing session has only a close packet: the reference client drops the
    messages in front of it. Raises Rejected.
    """
    if session.polled:
        await _end_by_second_poll(session, receive)
        raise bad_request()
    session.polled = True
    beside_probe = session.probing
    completed = False
    try:
        if not _has_response(session):
            await _wait(session, receive)
        if beside_probe:
            await _let_upgrade(session)
        completed = True
    finally:
        session.polled = False
        if not completed:  # cancelled by a server that saw the disconnect
            _poll_disconnected(session)
    if session.overtaken or (beside_probe and session.transport != "polling"):
        raise bad_request()
    frames = _take(session)
    last = frames == [session.farewell] and session.state is not State.OPEN
    if last:
        session.unlist()  # first, as the client may ask again the moment it has read this
    await respond(Response(200, encode_payload(frames)))
    if last:
        session.finish(clean=True)


async def _end_by_second_poll(session: Session, receive: Receive) -> None:
    """Two polls at once. On a busy machine, a poll that its client has aborted may be read after
    the one that followed it; then the other poll finds its session ended."""
    session.overtaken = True
    try:
        with trio.move_on_after(_CLOSE_DELAY):
            await _until_disconnect(receive)
            return
        session.overtaken = False
    finally:
        session.abort("transport error")


async def post(session: Session, request: Request, receive: Receive, max_payload: int) -> Response:
    """POST: passes the packets of the body to the session. Raises Rejected."""
    if session.posted or request.header("content-type") == "application/octet-stream":
        session.abort("transport error")
        raise bad_request()
    session.posted = True
    try:
        for packet in decode_payload(await _body(session, request, receive, max_payload)):
            await session.receive(packet)
    except _TooLarge:
        return Response(413, headers=connection_close(request.scope))
    except PacketError:
        session.abort("parse error")
        raise bad_request() from None
    finally:
        session.posted = False
    return Response(200, b"ok", "text/html")


def _has_response(session: Session) -> bool:
    return bool(
        len(session.outbox)
        or session.state is not State.OPEN
        or session.upgrading
        or session.transport != "polling"
    )


async def _wait(session: Session, receive: Receive) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch, session, receive)
        while not _has_response(session):
            await _change(session)
        nursery.cancel_scope.cancel()


async def _change(session: Session) -> None:
    changed = trio.Event()
    session.outbox.on_change = changed.set
    await changed.wait()


async def _let_upgrade(session: Session) -> None:
    """Waits while a poll that came during a probe has no response: the packet that completes the
    upgrade may follow directly, and then the poll is a bad request."""
    with trio.move_on_after(_UPGRADE_DELAY):
        while session.upgrading and session.state is State.OPEN and not len(session.outbox):
            await _change(session)


async def _watch(session: Session, receive: Receive) -> None:
    await _until_disconnect(receive)
    _poll_disconnected(session)


def _poll_disconnected(session: Session) -> None:
    """The client has aborted its poll. After a delivered goodbye that is a clean end."""
    session.lose(clean=session.state is State.CLOSING and not len(session.outbox))


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _take(session: Session) -> list[Frame]:
    if session.transport != "polling":
        return [NOOP]  # upgraded: the rest goes over the WebSocket
    if frames := session.outbox.take_all():
        return frames
    return [NOOP if session.state is State.OPEN else session.farewell]


async def _body(session: Session, request: Request, receive: Receive, limit: int) -> bytes:
    declared = request.header("content-length")
    if declared is not None and declared.isdecimal() and int(declared) > limit:
        raise _TooLarge
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            session.abort("transport error")
            raise bad_request()
        body += message.get("body", b"")
        if len(body) > limit:
            raise _TooLarge
        if not message.get("more_body", False):
            return bytes(body)
