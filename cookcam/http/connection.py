"""How one ASGI HTTP request runs in the app, under our own server and under any other.

Our server cancels the scope of a request whose client has left, and says so in the scope's
extensions. Then the handler needs no task beside it that waits for the disconnect: it runs
straight through, without a nursery, and pulls its body itself. Under any other server Quart-Trio's
two tasks do their work as usual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import trio
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers.request import TrioBody

from cookcam.http.requests import PulledBody, Request
from cookcam.http.responses import RawResponse

if TYPE_CHECKING:
    from cookcam.http.app import CookCamApp

CANCELS_ON_DISCONNECT = "cookcam.cancel_on_disconnect"
"""The extension by which a server promises to cancel a request whose client has left."""


class HttpConnection(TrioASGIHTTPConnection):
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
        answer = await self.app.answer(request)
        if not isinstance(answer, RawResponse):
            await self._send_response(send, answer)
            return
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": answer.headers,
            }
        )
        body = b"" if request.method == "HEAD" else answer.body
        await send({"type": "http.response.body", "body": body, "more_body": False})
