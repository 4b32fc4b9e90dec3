"""One task for each request of a connection, cancelled when its client disconnects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import trio
from hypercorn.config import Config
from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ASGISendEvent, Scope

from cookcam.lifecycle.work import Work
from cookcam.serving.observer import ConnectionObserver

CANCELS_ON_DISCONNECT = "cookcam.cancel_on_disconnect"
"""The scope extension by which an application knows that it need not watch `receive`."""


FAREWELL_TIMEOUT = 60.0
"""Seconds that the application of a WebSocket has after its peer has disconnected."""


class Inbox:
    """The ASGI messages of one request: bounded, so that an upload waits for its reader.

    A memory channel would do; this is a third of its cost, and there is one for each request.
    """

    __slots__ = ("_event", "_limit", "_messages", "_unwanted")

    def __init__(self, limit: int) -> None:
        self._messages: list[ASGIReceiveEvent] = []
        self._event: trio.Event | None = None
        self._limit = limit
        self._unwanted = False

    async def put(self, message: ASGIReceiveEvent) -> None:
        while len(self._messages) >= self._limit and not self._unwanted:
            await self._changed()
        if not self._unwanted:
            self.put_now(message)

    def close(self) -> None:
        """No more messages will be received: later ones are dropped, and senders do not wait."""
        self._unwanted = True
        self._messages.clear()
        self._notify()

    def put_now(self, message: ASGIReceiveEvent) -> None:
        self._messages.append(message)
        self._notify()

    async def receive(self) -> ASGIReceiveEvent:
        while not self._messages:
            await self._changed()
        self._notify()
        return self._messages.pop(0)

    async def _changed(self) -> None:
        if self._event is None:
            self._event = trio.Event()
        await self._event.wait()

    def _notify(self) -> None:
        if self._event is not None:
            self._event.set()
            self._event = None


class RequestTasks:
    """Hypercorn's task group: runs the application for each request of a connection.

    A request is a unit of `work` until its response is complete. `http.disconnect` before that
    cancels it, because the client has disconnected. An exception of the application is reported
    and ends only that request.
    """

    _nursery: trio.Nursery

    def __init__(self, work: Work, observer: ConnectionObserver) -> None:
        self._work = work
        self._observer = observer
        self._manager = trio.open_nursery()

    async def __aenter__(self) -> Self:
        self._nursery = await self._manager.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return await self._manager.__aexit__(kind, error, trace)

    async def spawn_app(
        self,
        app: AppWrapper,
        config: Config,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        inbox = Inbox(config.max_app_queue_size)
        cancel_scope = trio.CancelScope()
        if scope["type"] != "http":

            async def put_frame(message: ASGIReceiveEvent) -> None:
                if message["type"] != "websocket.disconnect":
                    await inbox.put(message)
                    return
                inbox.put_now(message)
                cancel_scope.deadline = trio.current_time() + FAREWELL_TIMEOUT

            self._nursery.start_soon(self._run, app, scope, inbox, send, cancel_scope)
            return put_frame
        # Without the other extensions of Hypercorn's HTTP/2: push, trailers and early hints.
        scope["extensions"] = {CANCELS_ON_DISCONNECT: {}}
        answered = False

        async def observed_send(message: ASGISendEvent | None) -> None:
            nonlocal answered
            if message is None or (
                message["type"] == "http.response.body" and not message.get("more_body", False)
            ):
                answered = True
            await send(message)

        async def put(message: ASGIReceiveEvent) -> None:
            if message["type"] != "http.disconnect":
                await inbox.put(message)
                return
            inbox.put_now(message)
            if not answered:
                cancel_scope.cancel()

        self._nursery.start_soon(self._run, app, scope, inbox, observed_send, cancel_scope)
        return put

    def spawn(self, func: Callable[..., Awaitable[Any]], *args: Any) -> None:
        self._nursery.start_soon(func, *args)

    async def _run(
        self,
        app: AppWrapper,
        scope: Scope,
        inbox: Inbox,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
        cancel_scope: trio.CancelScope,
    ) -> None:
        unit = self._work.begin(*_described(scope))
        try:
            with cancel_scope:
                try:
                    await app(
                        scope, inbox.receive, send, trio.to_thread.run_sync, trio.from_thread.run
                    )
                except* Exception as error:
                    # The application answers its own errors; this is an error of the serving layer.
                    self._observer.application_failed(error)
                await send(None)
        finally:
            inbox.close()
            self._work.end(unit)


def _described(scope: Scope) -> tuple[str, str]:
    """The kind of unit and its name in a drain report: method and path, without the query."""
    if scope["type"] == "http":
        return "request", f"{scope['method']} {scope['path']}"
    return "socket", scope["path"] if scope["type"] == "websocket" else scope["type"]
