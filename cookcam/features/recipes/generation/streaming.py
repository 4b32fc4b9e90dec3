"""Replies of the generation routes, streamed as server-sent events or as a whole.

With `Accept: text/event-stream` the client receives `progress` events, one event per complete part,
and finally `done` with the JSON body of the ordinary reply, or `error` with that of the ordinary
error. Without that header it receives the ordinary reply. Format: the WHATWG HTML standard,
"Server-sent events".

The user's sockets receive `generation_progress` events in both cases.

A generation runs inside its request, streamed or not, so a drain waits for it as for any request
and cancels it at `DRAIN_TIMEOUT_SECONDS` (docs/shutdown.md). A cancelled generation has stored
nothing and consumed no quota.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from contextvars import Context, copy_context
from types import TracebackType
from typing import Any, cast

import trio
from attrs import define, field, frozen
from quart import current_app, request
from quart.wrappers import Response
from quart.wrappers.response import ResponseBody

from cookcam.errors import AppError, DeadlineExceeded
from cookcam.features.operations.idempotency.guard import idempotent
from cookcam.features.operations.idempotency.service import StoredReplies
from cookcam.features.recipes.generation.recipe_model import ProgressListener, Stage
from cookcam.http import current_request_info
from cookcam.http.app import CookCamApp
from cookcam.http.errors import Failures, as_app_error, error_body, failure_in
from cookcam.http.request_info import RequestInfo
from cookcam.http.responses import RawResponse, json_response, to_json
from cookcam.http.route_options import Dialect
from cookcam.identity import Identity
from cookcam.integrations.openai import UnusableCompletion
from cookcam.observability.metrics import Metrics
from cookcam.realtime.notifiers import UserNotifier

EVENT_STREAM = "text/event-stream"

HEADERS: Mapping[str, str] = {
    "Content-Type": EVENT_STREAM,
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # nginx must not buffer the events
}

HEARTBEAT_SECONDS = 10.0
"""A comment is sent after so long without an event, so that proxies keep the connection open."""

COMMENT = b": still cooking\n\n"

MAX_QUEUED_EVENTS = 64
"""Events queued for a slow reader; further progress events are dropped."""

Run = Callable[[ProgressListener], Awaitable[tuple[Any, int]]]
"""Produces the (body, status) of a reply and reports its progress."""


@define(eq=False)
class ProgressReporter:
    """Reports the progress of one request to its stream, if any, and to the user's sockets."""

    caller: Identity
    operation: str
    request_id: str
    notifier: UserNotifier = field(repr=False)
    stream: trio.MemorySendChannel[bytes] | None = field(repr=False)
    model_called: bool = field(default=False, init=False)
    """False for a repeat that returns a stored result."""
    _stage: Stage = field(default="asking", init=False)
    _characters: int = field(default=0, init=False)
    _items: int = field(default=0, init=False)

    @property
    def active(self) -> bool:
        return self.stream is not None or bool(self.notifier.connections_of(self.caller.user_id))

    def stage(self, stage: Stage) -> None:
        self._stage = stage
        self.model_called = self.model_called or stage == "asking"
        if stage == "restarted":
            self._characters = self._items = 0
        self._report()

    def written(self, characters: int) -> None:
        self._stage, self._characters = "writing", characters
        self._report()

    def item(self, kind: str, value: Any) -> None:
        self._items += 1
        self._send(kind, value)

    def _report(self) -> None:
        progress = {
            "stage": self._stage,
            "characters": self._characters,
            "items": self._items,
        }
        if self._stage not in ("done", "failed"):  # streams end with their own events
            self._send("progress", progress)
        self.notifier.send_to_user(
            self.caller.user_id,
            "generation_progress",
            {"requestId": self.request_id, "operation": self.operation, **progress},
            volatile=True,
        )

    def _send(self, name: str, data: Any) -> None:
        if self.stream is not None:
            with suppress(trio.WouldBlock):  # `done` contains the whole body
                self.stream.send_nowait(event(name, to_json(data)))


@frozen
class GenerationResponder:
    """Sends the replies of generation requests, streamed or whole, with `Idempotency-Key`."""

    notifier: UserNotifier
    replies: StoredReplies
    metrics: Metrics

    async def respond(
        self,
        caller: Identity,
        operation: str,
        run: Run,
        *,
        seconds: float,
        dialect: Dialect,
    ) -> Any:
        """Return the view's result. `seconds` limits a stream; the route's deadline limits an
        ordinary reply."""
        info = current_request_info()

        async def reply(stream: trio.MemorySendChannel[bytes] | None) -> Any:
            reporter = ProgressReporter(caller, operation, info.request_id, self.notifier, stream)

            async def view(_: Identity) -> Any:
                try:
                    result = await run(reporter)
                except AppError as error:
                    _apply_dialect(error, dialect)
                    raise
                reporter.stage("done")
                return result

            try:
                response = await idempotent(self.replies)(view)(caller)
            except BaseException as error:
                reporter.stage("failed")
                self._count(
                    reporter, "cancelled" if isinstance(error, trio.Cancelled) else "failed"
                )
                raise
            self._count(reporter, "done" if reporter.model_called else "repeated")
            return response

        if not _wants_stream():
            return await reply(None)
        failures = cast("CookCamApp", current_app).failures
        body = _Body(reply, copy_context(), seconds, info, request.scope, failures, dialect)
        return Response(body, 200, dict(HEADERS))

    def _count(self, reporter: ProgressReporter, outcome: str) -> None:
        """Count outcomes here as well: a stream has the status 200 even when it fails."""
        mode = "reply" if reporter.stream is None else "stream"
        self.metrics.generations_total.of(reporter.operation, mode, outcome).inc()


def _apply_dialect(error: AppError, dialect: Dialect) -> None:
    """Give failures of the model and of the database the error text of the endpoint."""
    if error.status >= 500 and error.error is None:
        error.error = dialect.unexpected
    if isinstance(error, UnusableCompletion) and dialect.flagged:
        error.details = {"reason": f"the answer of the model was {error.reason}"}


def event(name: str, data: bytes) -> bytes:
    """Encode one server-sent event; `data` is JSON on one line."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


def _wants_stream() -> bool:
    accepted = request.headers.get("Accept", "")
    kinds = (part.partition(";")[0].strip().lower() for part in accepted.split(","))
    return EVENT_STREAM in kinds


@define(eq=False)
class _Body(ResponseBody):
    """The body of a stream. Runs the generation in its own nursery; closing it cancels both."""

    reply: Callable[[trio.MemorySendChannel[bytes]], Awaitable[Any]]
    context: Context
    seconds: float
    request_info: RequestInfo
    scope: Any
    failures: Failures
    dialect: Dialect
    _manager: AbstractAsyncContextManager[trio.Nursery] = field(init=False)
    _receive: trio.MemoryReceiveChannel[bytes] = field(init=False)

    async def __aenter__(self) -> AsyncIterator[bytes]:
        send, self._receive = trio.open_memory_channel[bytes](MAX_QUEUED_EVENTS)
        self._manager = trio.open_nursery()
        nursery = await self._manager.__aenter__()
        # The task runs with the context of the request.
        self.context.run(nursery.start_soon, self._run, send)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self._manager.__aexit__(exc_type, exc_value, tb)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        with trio.move_on_after(HEARTBEAT_SECONDS):
            try:
                return await self._receive.receive()
            except trio.EndOfChannel:
                raise StopAsyncIteration from None
        return COMMENT

    async def _run(self, send: trio.MemorySendChannel[bytes]) -> None:
        async with send:
            await send.send(await self._outcome(send))

    async def _outcome(self, send: trio.MemorySendChannel[bytes]) -> bytes:
        try:
            with trio.move_on_after(self.seconds) as scope:
                result = await self.reply(send)
                response = result if isinstance(result, RawResponse) else json_response(*result)
                return event("done", response.body.rstrip(b"\n"))
            if scope.cancelled_caught:
                raise DeadlineExceeded()
        except Exception as error:
            return self._failed(error)
        except BaseExceptionGroup as group:
            failed = failure_in(group)
            if failed is None:
                raise
            return self._failed(failed)
        raise AssertionError  # the block above returns or raises

    def _failed(self, error: Exception) -> bytes:
        self.failures.note(error, self.request_info, self.scope)
        return event(
            "error", to_json(error_body(as_app_error(error), self.request_info, self.dialect))
        )
