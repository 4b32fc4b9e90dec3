"""Answers that are told while they are made: `Accept: text/event-stream`.

A generation gives the events `progress`, one for each part that is complete, and at the end `done`
with the JSON body of the ordinary reply, or `error` with the one error shape. The same request
without that header gets the ordinary reply. Format: the WHATWG HTML standard, "Server-sent events".

The user's sockets get the event `generation_progress` in both cases.
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
from cookcam.features.recipes.generation.progress import Stage, Watch
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
    "X-Accel-Buffering": "no",  # nginx passes every event on at once
}

HEARTBEAT_SECONDS = 10.0
"""A stream that says nothing for so long says a comment, so that nobody thinks it dead."""

COMMENT = b": still cooking\n\n"

KEPT = 64
"""Events that wait for a slow reader; progress beyond it is dropped."""

Run = Callable[[Watch], Awaitable[tuple[Any, int]]]
"""Makes the reply of a request, (body, status), and tells the watch meanwhile."""


@define(eq=False)
class Teller:
    """The watch of one request: tells its stream, if it has one, and the user's sockets."""

    caller: Identity
    operation: str
    request_id: str
    hub: UserNotifier = field(repr=False)
    stream: trio.MemorySendChannel[bytes] | None = field(repr=False)
    asked: bool = field(default=False, init=False)
    """Whether the model was asked: not for a repeat."""
    _stage: Stage = field(default="asking", init=False)
    _characters: int = field(default=0, init=False)
    _items: int = field(default=0, init=False)

    @property
    def watched(self) -> bool:
        return self.stream is not None or bool(self.hub.connections_of(self.caller.user_id))

    def stage(self, stage: Stage) -> None:
        self._stage = stage
        self.asked = self.asked or stage == "asking"
        if stage == "restarted":
            self._characters = self._items = 0
        self._tell()

    def written(self, characters: int) -> None:
        self._stage, self._characters = "writing", characters
        self._tell()

    def item(self, kind: str, value: Any) -> None:
        self._items += 1
        self._send(kind, value)

    def _tell(self) -> None:
        told = {
            "stage": self._stage,
            "characters": self._characters,
            "items": self._items,
        }
        if self._stage not in ("done", "failed"):  # the stream says this in its own way
            self._send("progress", told)
        self.hub.send_to_user(
            self.caller.user_id,
            "generation_progress",
            {"requestId": self.request_id, "operation": self.operation, **told},
            volatile=True,
        )

    def _send(self, name: str, data: Any) -> None:
        if self.stream is not None:
            with suppress(trio.WouldBlock):  # the body of `done` has everything
                self.stream.send_nowait(event(name, to_json(data)))


@frozen
class Tellers:
    """Answers requests for generations, streamed or not, each under its `Idempotency-Key`."""

    hub: UserNotifier
    replies: StoredReplies
    metrics: Metrics

    async def answer(
        self,
        caller: Identity,
        operation: str,
        run: Run,
        *,
        seconds: float,
        dialect: Dialect,
    ) -> Any:
        """What the view returns. A stream has `seconds`; an ordinary reply the deadline of its
        route."""
        here = current_request_info()

        async def told(stream: trio.MemorySendChannel[bytes] | None) -> Any:
            teller = Teller(caller, operation, here.request_id, self.hub, stream)

            async def view(_: Identity) -> Any:
                try:
                    reply = await run(teller)
                except AppError as error:
                    _word(error, dialect)
                    raise
                teller.stage("done")
                return reply

            try:
                answer = await idempotent(self.replies)(view)(caller)
            except BaseException as error:
                teller.stage("failed")
                self._count(teller, "cancelled" if isinstance(error, trio.Cancelled) else "failed")
                raise
            self._count(teller, "done" if teller.asked else "repeated")
            return answer

        if not _wants_stream():
            return await told(None)
        failures = cast("CookCamApp", current_app).failures
        body = _Body(told, copy_context(), seconds, here, request.scope, failures, dialect)
        return Response(body, 200, dict(HEADERS))

    def _count(self, teller: Teller, outcome: str) -> None:
        """A stream has the status 200 whatever comes of it, so requests are counted here too."""
        mode = "reply" if teller.stream is None else "stream"
        self.metrics.generations_total.of(teller.operation, mode, outcome).inc()


def _word(error: AppError, dialect: Dialect) -> None:
    """A failure of the model or the database in the words of the endpoint, whatever its status."""
    if error.status >= 500 and error.error is None:
        error.error = dialect.unexpected
    if isinstance(error, UnusableCompletion) and dialect.flagged:
        error.details = {"reason": f"the answer of the model was {error.reason}"}


def event(name: str, data: bytes) -> bytes:
    """One server-sent event; JSON has no line breaks of its own."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


def _wants_stream() -> bool:
    accepted = request.headers.get("Accept", "")
    kinds = (part.partition(";")[0].strip().lower() for part in accepted.split(","))
    return EVENT_STREAM in kinds


@define(eq=False)
class _Body(ResponseBody):
    """The body of a stream: the generation runs in its nursery and is cancelled with it."""

    told: Callable[[trio.MemorySendChannel[bytes]], Awaitable[Any]]
    context: Context
    seconds: float
    request_info: RequestInfo
    scope: Any
    failures: Failures
    dialect: Dialect
    _manager: AbstractAsyncContextManager[trio.Nursery] = field(init=False)
    _receive: trio.MemoryReceiveChannel[bytes] = field(init=False)

    async def __aenter__(self) -> AsyncIterator[bytes]:
        send, self._receive = trio.open_memory_channel[bytes](KEPT)
        self._manager = trio.open_nursery()
        nursery = await self._manager.__aenter__()
        # The task sees the request as the view did.
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
                result = await self.told(send)
                answer = result if isinstance(result, RawResponse) else json_response(*result)
                return event("done", answer.body.rstrip(b"\n"))
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
