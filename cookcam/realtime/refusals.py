"""Refusals before anything is open: the error envelope of HTTP, for requests and for upgrades."""

from __future__ import annotations

from cookcam.errors import AppError
from cookcam.http.errors import error_response
from cookcam.http.request_info import request_info_of
from cookcam.realtime.engineio import Scope, Send


async def refuse(scope: Scope, send: Send, error: AppError) -> None:
    """Answers a request, or a WebSocket handshake in place of the upgrade."""
    answer = error_response(error, request_info_of(scope))
    kind = "http.response" if scope["type"] == "http" else "websocket.http.response"
    await send({"type": f"{kind}.start", "status": answer.status, "headers": answer.headers})
    await send({"type": f"{kind}.body", "body": answer.body, "more_body": False})
