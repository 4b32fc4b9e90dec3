"""Who is on a plain WebSocket: by the upgrade request, or by the first frame after it.

Native clients send `Authorization: Bearer` and are refused before the upgrade, with HTTP's own
status and body. Browsers cannot set that header: they say it in their first frame, and are refused
by a close code. Source: `spec/realtime.md` §10.1.
"""

from __future__ import annotations

from typing import Any, Final, cast

import trio
from attrs import define, frozen

from cookcam.errors import AuthenticationError, BadRequest
from cookcam.identity import Identity
from cookcam.json_parsing import JsonTooDeep
from cookcam.realtime.admission import MISSING, SHUTTING_DOWN, Reception, Rejected, bearer_token
from cookcam.realtime.closing import CloseCode
from cookcam.realtime.engineio import Receive, Request, Scope, Send
from cookcam.realtime.frames import (
    Frame,
    InvalidFrame,
    MalformedFrame,
    RequestId,
    decode_frame,
    encode_frame,
    is_too_large,
)
from cookcam.realtime.plain.connection import CLOSE_TIMEOUT, PROTOCOL

FIRST_FRAME_TIMEOUT: Final = 5.0
"""Seconds from the upgrade to the frame that authenticates."""
QUERY_TOKENS: Final = frozenset({"token", "access_token"})


@define(eq=False, slots=False)
class Dismissed(Exception):
    """The client is not let in after the upgrade. `message` is that of `connect_error`."""

    code: CloseCode
    reason: str
    message: str | None = None
    reply_to: RequestId | None = None


class PeerLeft(Exception):
    """The client went away before it was let in."""


@frozen
class Introduction:
    """Who it is, and what the frame that said so wants its answer to repeat."""

    identity: Identity
    request_id: RequestId | None = None


async def by_header(reception: Reception, scope: Scope) -> Introduction | None:
    """The owner of the token in the upgrade request; None when it has none. Raises AppError."""
    try:
        request = Request.of(scope)
    except ValueError:
        raise BadRequest from None
    reception.let_in(scope)
    if not QUERY_TOKENS.isdisjoint(request.query):
        # It stands in access logs by now, and one that is accepted would go on doing so.
        raise AuthenticationError(
            "A token is not accepted in the query string", error="Authentication required"
        )
    header = request.header("authorization")
    if header is None:
        return None
    try:
        return Introduction(await reception.identify(bearer_token(header), PROTOCOL))
    except Rejected as rejected:
        raise rejected.error from None


async def by_first_frame(
    reception: Reception, receive: Receive, waiting: trio.CancelScope
) -> Introduction:
    """The owner of the token in the first frame. `waiting` may be cancelled to end the wait.

    Raises Dismissed and PeerLeft.
    """
    message = None
    waiting.deadline = trio.current_time() + FIRST_FRAME_TIMEOUT
    with waiting:
        message = await receive()
    if message is None:
        if reception.lifecycle.draining:
            raise Dismissed(CloseCode.GOING_AWAY, SHUTTING_DOWN)
        raise Dismissed(CloseCode.UNAUTHENTICATED, "no authenticate in time")
    if message["type"] == "websocket.disconnect":
        raise PeerLeft
    frame = _first_frame(message.get("text"))
    data: Any = frame.data
    token = cast("dict[str, Any]", data).get("token") if isinstance(data, dict) else data
    if frame.event != "authenticate":
        token = None
    try:
        return Introduction(await reception.identify(token, PROTOCOL), frame.id)
    except Rejected as rejected:
        raise Dismissed(rejected.code, rejected.message, rejected.message, frame.id) from None


async def dismiss(dismissed: Dismissed, receive: Receive, send: Send) -> None:
    """Says why, closes, and waits for the peer's close; all of it bounded."""
    with trio.move_on_after(CLOSE_TIMEOUT):
        if dismissed.message is not None:
            said = {"message": dismissed.message}
            frame = encode_frame("connect_error", said, dismissed.reply_to)
            await send({"type": "websocket.send", "text": frame})
        code = int(dismissed.code)
        await send({"type": "websocket.close", "code": code, "reason": dismissed.reason})
        while (await receive())["type"] != "websocket.disconnect":
            pass


def _first_frame(text: str | None) -> Frame:
    """Raises Dismissed for what is no frame."""
    if text is None:
        raise Dismissed(CloseCode.BINARY, "binary frame")
    if is_too_large(text):
        raise Dismissed(CloseCode.TOO_LARGE, "frame is too large")
    try:
        return decode_frame(text)
    except (MalformedFrame, InvalidFrame, JsonTooDeep):
        raise Dismissed(CloseCode.TOKEN, MISSING, MISSING) from None
