"""One task for each request of a connection, with a scope that ends when its client leaves."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, Self

import trio
from hypercorn.config import Config
from hypercorn.typing import ASGIFramework, ASGIReceiveEvent, ASGISendEvent, Scope

from cookcam.lifecycle.work import Work
from cookcam.serving.observer import ConnectionObserver
from cookcam.serving.states import RESPONSE_TIMEOUT

CANCELS_ON_DISCONNECT = "cookcam.cancel_on_disconnect"
"""The scope extension of a request that is cancelled when its client disconnects: the
application need not watch `receive`."""


DISCONNECT_TIMEOUT = 60.0
"""Seconds the application of a WebSocket has after its peer has left."""


WATCH_AFTER = 0.05
"""Seconds after which a request is cancelled when its client disconnects."""


class MessageQueue:
    """The ASGI messages of one request: bounded, so that an upload waits for its reader.

    It costs a third of a memory channel, and there is one for each request.
    """

    __slots__ = ("_event", "_is_closed", "_limit", "_messages", "on_wait")

    def __init__(self, limit: int) -> None:
        self.on_wait: Callable[[], Awaitable[None]] | None = None
        """Called once, when the application waits for a message."""
        self._messages: list[ASGIReceiveEvent] = []
        self._event: trio.Event | None = None
        self._limit = limit
        self._is_closed = False

    async def put(self, message: ASGIReceiveEvent) -> None:
        while len(self._messages) >= self._limit and not self._is_closed:
            await self._changed()
        if not self._is_closed:
            self.put_now(message)

    def close(self) -> None:
        """Ends the queue: later messages are dropped, and senders do not wait."""
        self._is_closed = True
        self._messages.clear()
        self._notify()

    def put_now(self, message: ASGIReceiveEvent) -> None:
        self._messages.append(message)
        self._notify()

    async def receive(self) -> ASGIReceiveEvent:
        if self.on_wait is not None and not self._messages:
            on_wait, self.on_wait = self.on_wait, None
            await on_wait()
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


class Messages(Protocol):
    """The messages for the application of one request."""

    async def receive(self) -> ASGIReceiveEvent: ...

    def close(self) -> None:
        """Called when the application has returned."""
        ...


class WebSocketTask:
    """Runs the application of a WebSocket in the task of its connection, which reads while the
    application waits for a message: an idle WebSocket has one task.

    `resume` handles what was read before and not parsed yet; False when there is nothing. `read`
    reads once, and handles that; False at the end of the connection.
    """

    __slots__ = ("_application", "_has_ended", "_messages", "_read", "_resume", "_scope")

    def __init__(
        self, resume: Callable[[], Awaitable[bool]], read: Callable[[], Awaitable[bool]]
    ) -> None:
        self._resume = resume
        self._read = read
        self._messages: list[ASGIReceiveEvent] = []
        self._scope = trio.CancelScope(deadline=trio.current_time() + RESPONSE_TIMEOUT)
        self._has_ended = False
        self._application: tuple[ASGIFramework, Any, Callable[..., Awaitable[None]]] | None = None

    async def spawn_app(
        self,
        app: ASGIFramework,
        config: Config,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """What the stream of the WebSocket calls instead of `RequestTasks.spawn_app`."""
        self._application = app, scope, send
        return self._put

    async def run(self, tasks: RequestTasks) -> bool:
        """Runs the application to its end; not if the handshake was invalid. False when the
        application has not decided on the WebSocket within RESPONSE_TIMEOUT."""
        if self._application is None:
            return True
        (app, scope, send), self._application = self._application, None
        await tasks.run(app, scope, self, send, self._scope)
        return self._has_ended or not self._scope.cancelled_caught

    def accepted(self) -> None:
        """The application has accepted the WebSocket: no limit until the peer leaves."""
        if not self._has_ended:
            self._scope.deadline = math.inf

    async def receive(self) -> ASGIReceiveEvent:
        while not self._messages:
            if self._has_ended:
                await trio.sleep_forever()  # until DISCONNECT_TIMEOUT
            if not await self._resume() and not await self._read():
                self._has_ended = True
        return self._messages.pop(0)

    def close(self) -> None:
        self._messages.clear()

    async def _put(self, message: ASGIReceiveEvent) -> None:
        self._messages.append(message)
        if message["type"] == "websocket.disconnect":
            self._has_ended = True
            self._scope.deadline = trio.current_time() + DISCONNECT_TIMEOUT


class Watchable(Protocol):
    """A connection that runs a request in its own task."""

    def watch(self) -> None:
        """Starts to read, in a task that ends with the request."""
        ...


class DisconnectWatch:
    """Starts to read for the requests that take longer than WATCH_AFTER, so that they are cancelled
    when their client disconnects. `run` must be running."""

    def __init__(self) -> None:
        self._running: dict[Watchable, float] = {}
        self._begun = trio.Event()

    def begin(self, connection: Watchable) -> None:
        if not self._running:
            self._begun.set()
        self._running[connection] = trio.current_time()

    def end(self, connection: Watchable) -> None:
        self._running.pop(connection, None)

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            await self._begun.wait()
            while self._running:
                await trio.sleep(WATCH_AFTER)
                due = trio.current_time() - WATCH_AFTER
                while self._running:
                    connection, began = next(iter(self._running.items()))
                    if began > due:
                        break
                    del self._running[connection]
                    connection.watch()
            self._begun = trio.Event()


class RequestTasks:
    """What Hypercorn calls a task group: runs the application for each request of a connection.

    A request is a unit of `work` until its response is complete. `http.disconnect` before that
    cancels it, because its client has left. What the application raises is reported and ends
    that request alone.
    """

    _nursery: trio.Nursery

    def __init__(self, work: Work, observer: ConnectionObserver) -> None:
        self._work = work
        self._observer = observer
        self._manager = trio.open_nursery()

    async def __aenter__(self) -> Self:
        self._nursery = await self._manager.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._manager.__aexit__(*error)

    async def spawn_app(
        self,
        app: ASGIFramework,
        config: Config,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        queue = MessageQueue(config.max_app_queue_size)
        cancel_scope = trio.CancelScope()
        if scope["type"] != "http":

            async def put_frame(message: ASGIReceiveEvent) -> None:
                if message["type"] != "websocket.disconnect":
                    await queue.put(message)
                    return
                queue.put_now(message)
                cancel_scope.deadline = trio.current_time() + DISCONNECT_TIMEOUT

            self.start(app, scope, queue, send, cancel_scope)
            return put_frame
        # Not what Hypercorn's HTTP/2 offers besides: push, trailers and early hints.
        scope["extensions"] = {CANCELS_ON_DISCONNECT: {}}
        is_complete = False

        async def observed_send(message: ASGISendEvent | None) -> None:
            nonlocal is_complete
            if message is None or (
                message["type"] == "http.response.body" and not message.get("more_body", False)
            ):
                is_complete = True
            await send(message)

        async def put(message: ASGIReceiveEvent) -> None:
            if message["type"] != "http.disconnect":
                await queue.put(message)
                return
            queue.put_now(message)
            if not is_complete:
                cancel_scope.cancel()

        self.start(app, scope, queue, observed_send, cancel_scope)
        return put

    def start(
        self,
        app: ASGIFramework,
        scope: Any,
        queue: MessageQueue,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
        cancel_scope: trio.CancelScope,
    ) -> None:
        """Runs the application in a task of its own; `send` gets None when it has returned."""
        self._nursery.start_soon(self.run, app, scope, queue, send, cancel_scope)

    def spawn(self, func: Callable[..., Awaitable[Any]], *args: Any) -> None:
        self._nursery.start_soon(func, *args)

    async def run(
        self,
        app: ASGIFramework,
        scope: Any,
        queue: Messages,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
        cancel_scope: trio.CancelScope,
    ) -> None:
        """Runs the application in the calling task."""
        unit = self._work.begin(*_described(scope))
        try:
            with cancel_scope:
                try:
                    await app(scope, queue.receive, send)
                except* Exception as error:
                    # The application handles its own errors; this one is a fault between it and us.
                    self._observer.application_failed(error)
                await send(None)
        finally:
            queue.close()
            self._work.end(unit)


def _described(scope: Scope) -> tuple[str, str]:
    """The kind of unit and its name in a drain report: method and path, without the query."""
    if scope["type"] == "http":
        return "request", f"{scope['method']} {scope['path']}"
    return "socket", scope["path"] if scope["type"] == "websocket" else scope["type"]
