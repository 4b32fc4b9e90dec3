"""Authenticates a plain WebSocket: by the upgrade request, or by the first frame after it.

Native clients send `Authorization: Bearer`, and are rejected before the upgrade with the status and
body of an HTTP error. Browsers cannot set that header: they authenticate with their first frame,
and are rejected with a close code. The operations console has its own path, and its cookie.
"""

from __future__ import annotations

from typing import Any, Final, cast

import trio
from attrs import define, frozen

from cookcam.errors import AuthenticationError, AuthorizationError, BadRequest
from cookcam.identity import Identity
from cookcam.identity.console_cookie import is_same_origin, session_token
from cookcam.json_parsing import JsonTooDeep
from cookcam.realtime.admission import (
    MISSING,
    SHUTTING_DOWN,
    Admission,
    ConnectionDenied,
    bearer_token,
    is_of_console,
)
from cookcam.realtime.connection import CloseCode
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
"""Seconds from the upgrade to the `authenticate` frame."""
QUERY_TOKENS: Final = frozenset({"token", "access_token"})


@define(eq=False, slots=False)
class RejectedAfterUpgrade(Exception):
    """The client is rejected after the upgrade. `message` is sent in `connect_error`."""

    code: CloseCode
    reason: str
    message: str | None = None
    reply_to: RequestId | None = None


class PeerDisconnected(Exception):
    """The client disconnected before it was authenticated."""


@frozen
class Authenticated:
    """The identity, and the id of the `authenticate` frame, which the response repeats."""

    identity: Identity
    request_id: RequestId | None = None


async def authenticate_by_header(admission: Admission, scope: Scope) -> Authenticated | None:
    """The owner of the token in the upgrade request; None when it has none. Raises AppError."""
    try:
        request = Request.of(scope)
    except ValueError:
        raise BadRequest from None
    await admission.check_handshake(scope)
    if not QUERY_TOKENS.isdisjoint(request.query):
        # URLs are logged, so a token in the query string must never be accepted.
        raise AuthenticationError(
            "A token is not accepted in the query string", error="Authentication required"
        )
    header = request.header("authorization")
    of_console = is_of_console(scope)
    if of_console:
        names = ("sec-fetch-site", "origin", "host")
        if not is_same_origin(*(request.header(name) for name in names)):
            raise AuthorizationError("Origin not allowed")
        token = session_token(request.header("cookie"))
    elif header is None:
        return None
    else:
        token = bearer_token(header)
    try:
        identity = await admission.identify(token, PROTOCOL, in_maintenance=of_console)
    except ConnectionDenied as denied:
        raise denied.error from None
    return Authenticated(identity)


async def authenticate_by_first_frame(
    admission: Admission, receive: Receive, waiting: trio.CancelScope
) -> Authenticated:
    """The owner of the token in the first frame. Cancelling `waiting` ends the wait.

    Raises RejectedAfterUpgrade and PeerDisconnected.
    """
    message = None
    waiting.deadline = trio.current_time() + FIRST_FRAME_TIMEOUT
    with waiting:
        message = await receive()
    if message is None:
        if admission.lifecycle.draining:
            raise RejectedAfterUpgrade(CloseCode.GOING_AWAY, SHUTTING_DOWN)
        raise RejectedAfterUpgrade(CloseCode.UNAUTHENTICATED, "no authenticate in time")
    if message["type"] == "websocket.disconnect":
        raise PeerDisconnected
    frame = _first_frame(message.get("text"))
    data: Any = frame.data
    token = cast("dict[str, Any]", data).get("token") if isinstance(data, dict) else data
    if frame.event != "authenticate":
        token = None
    try:
        return Authenticated(await admission.identify(token, PROTOCOL), frame.id)
    except ConnectionDenied as denied:
        raise RejectedAfterUpgrade(denied.code, denied.message, denied.message, frame.id) from None


async def close_rejected(rejected: RejectedAfterUpgrade, receive: Receive, send: Send) -> None:
    """Sends `connect_error`, closes, and waits for the peer's close, at most CLOSE_TIMEOUT."""
    with trio.move_on_after(CLOSE_TIMEOUT):
        if rejected.message is not None:
            frame = encode_frame("connect_error", {"message": rejected.message}, rejected.reply_to)
            await send({"type": "websocket.send", "text": frame})
        code = int(rejected.code)
        await send({"type": "websocket.close", "code": code, "reason": rejected.reason})
        while (await receive())["type"] != "websocket.disconnect":
            pass


def _first_frame(text: str | None) -> Frame:
    """Raises RejectedAfterUpgrade for an invalid frame."""
    if text is None:
        raise RejectedAfterUpgrade(CloseCode.BINARY, "binary frame")
    if is_too_large(text):
        raise RejectedAfterUpgrade(CloseCode.TOO_LARGE, "frame is too large")
    try:
        return decode_frame(text)
    except (MalformedFrame, InvalidFrame, JsonTooDeep):
        raise RejectedAfterUpgrade(CloseCode.TOKEN, MISSING, MISSING) from None
