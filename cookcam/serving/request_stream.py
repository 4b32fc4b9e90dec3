"""The ASGI side of one HTTP/1.1 request: its scope, and the messages to and from its application.

Hypercorn's HTTPStream does the same for HTTP/2, with an event object for each step. Without them a
small response takes a tenth less processor time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import trio
from hypercorn.typing import ASGISendEvent

from cookcam.serving.request_parser import RequestHead
from cookcam.serving.tasks import CANCELS_ON_DISCONNECT, MessageQueue

if TYPE_CHECKING:
    from cookcam.serving.http1 import HTTP1


class RequestStream:
    """Created with the request's head; `HTTP1` runs the application on it."""

    __slots__ = ("_http", "_is_begun", "_is_complete", "_is_open", "_is_without_body", "queue",
                 "scope", "task")  # fmt: skip

    def __init__(
        self,
        http: HTTP1,
        head: RequestHead,
        target: bytes,
        scheme: str,
        client: tuple[str, int] | None,
        server: tuple[str, int] | None,
        queue_size: int,
    ) -> None:
        self._http = http
        self._is_open = True
        self._is_begun = False
        """The head of the response has been sent."""
        self._is_complete = False
        self._is_without_body = False
        self.queue = MessageQueue(queue_size)
        self.task = trio.CancelScope()
        path, _, query = target.partition(b"?")
        self.scope: dict[str, Any] = {
            "type": "http",
            "http_version": head.version.decode(),
            "asgi": {"spec_version": "2.1", "version": "3.0"},
            "method": head.method.decode(),
            "scheme": scheme,
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": head.headers,
            "client": client,
            "server": server,
            "state": {},
            "extensions": {CANCELS_ON_DISCONNECT: {}},
        }

    async def body(self, data: bytes) -> None:
        """Hands a part of the request's body to the application; waits while it reads none."""
        await self.queue.put({"type": "http.request", "body": data, "more_body": True})

    def end_body(self) -> None:
        self.queue.put_now({"type": "http.request", "body": b"", "more_body": False})

    def close(self) -> None:
        """The request is over: completed, or its client has left, which cancels its task."""
        self._is_open = False
        self.queue.put_now({"type": "http.disconnect"})
        if not self._is_complete:
            self.task.cancel()

    async def send(self, message: ASGISendEvent | None) -> None:
        """What the application sends; None when it has returned.

        Raises RuntimeError for a message out of order, ValueError for a response that is not valid.
        """
        if message is None:
            await self._end()
        elif self._is_complete:
            raise RuntimeError(f"{message['type']} after the end of the response")
        elif not self._is_open:
            # An application that is cancelled learns it here at the latest.
            await trio.lowlevel.checkpoint()
        elif message["type"] == "http.response.start" and not self._is_begun:
            status = int(message["status"])
            self._is_without_body = (
                self.scope["method"] == "HEAD" or status < 200 or status in (204, 304)
            )
            await self._http.send_head(status, message.get("headers", ()))
            self._is_begun = True
        elif message["type"] == "http.response.body" and self._is_begun:
            data = message.get("body", b"")
            # First: a client that leaves during the last write does not cancel its request.
            self._is_complete = not message.get("more_body", False)
            if data and not self._is_without_body:
                await self._http.send_body(bytes(data))
            if self._is_complete:
                await self._http.end_response()
        else:
            raise RuntimeError(f"unexpected message {message['type']}")

    async def _end(self) -> None:
        if not self._is_open:
            return
        if self._is_begun:  # and not complete: the peer learns it from the connection's end
            self._is_complete = True
            await self._http.abandon_response()
            return
        await self.send(
            {
                "type": "http.response.start",
                "status": 500,
                "headers": [(b"content-length", b"0"), (b"connection", b"close")],
            }
        )
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})
