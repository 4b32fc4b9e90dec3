"""Runs one ASGI HTTP request in the app, under our own server and under any other.

Our server cancels a request when its client disconnects, and announces this in the scope's
extensions. The handler then runs without a nursery and without a task that waits for the
disconnect, and receives its body itself. Under any other server Quart-Trio's two tasks are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import trio
from quart_trio.wrappers.request import TrioBody

from cookcam.http.quart_internals import QuartConnection
from cookcam.http.requests import PulledBody, Request
from cookcam.http.responses import RawResponse

if TYPE_CHECKING:
    from cookcam.http.app import CookCamApp

CANCELS_ON_DISCONNECT = "cookcam.cancel_on_disconnect"
"""ASGI extension: the server cancels a request when its client disconnects."""


class HttpConnection(QuartConnection):
    app: CookCamApp

    async def __call__(self, receive: Any, send: Any) -> None:
        extensions = cast("Any", self.scope).get("extensions")
        if extensions and CANCELS_ON_DISCONNECT in extensions:
            await self._run(Request(self.scope, PulledBody(receive)), send)
            return
        request = Request(self.scope, TrioBody(None, None))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.handle_messages, nursery, request, receive)
            await self._run(request, send)
            nursery.cancel_scope.cancel()

    async def _run(self, request: Request, send: Any) -> None:
        response = await self.app.respond(request)
        if not isinstance(response, RawResponse):
            await self.send_quart_response(send, response)
            return
        await send(
            {
                "type": "http.response.start",
                "status": response.status,
                "headers": response.headers,
            }
        )
        body = b"" if request.method == "HEAD" else response.body
        await send({"type": "http.response.body", "body": body, "more_body": False})
