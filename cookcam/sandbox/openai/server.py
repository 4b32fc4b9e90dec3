"""The fake OpenAI on a listener: paths, keys, streams, and a record of requests and disconnects.

A bare ASGI application, so that the record of a client's disconnection is not delayed by a
framework.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from math import ceil
from typing import Literal, cast

import orjson
import trio
from attrs import define, field

from cookcam.sandbox import serving
from cookcam.sandbox.openai import wire
from cookcam.sandbox.openai.answers import answer_to
from cookcam.sandbox.openai.behaviour import Behaviour, Fault
from cookcam.sandbox.openai.wire import ApiFault, Body, Question
from cookcam.sandbox.serving import Listener, Receive, Scope, Send

KEY = "sk-sandbox"
"""The default key. All keys are accepted unless `open_openai` gets one."""

REQUEST_ID = "req_sandbox"


@define(eq=False)
class Received:
    """A request for a completion, and how it ended; `seconds` from its last byte to its end.

    "disconnected": the client disconnected before the response was complete.
    """

    number: int
    question: Question = field(repr=False)
    began: float
    outcome: Literal["open", "answered", "refused", "cut", "disconnected"] = "open"
    seconds: float | None = None
    _over: trio.Event = field(init=False, factory=trio.Event, repr=False)

    async def ended(self) -> None:
        """Waits for the end of the request."""
        await self._over.wait()

    def end(self, outcome: Literal["answered", "refused", "cut", "disconnected"]) -> None:
        """The first end counts."""
        if self.outcome == "open":
            self.outcome = outcome
            self.seconds = trio.current_time() - self.began
            self._over.set()


@define(eq=False)
class FakeOpenAI:
    """A running fake: `url` is the value of `OPENAI_BASE_URL`, `key` that of the key.

    `received` are the requests for completions so far, in order.
    """

    url: str
    key: str = field(repr=False)
    behaviour: Behaviour
    received: list[Received] = field(init=False, factory=list[Received])
    _arrival: trio.Event = field(init=False, factory=trio.Event, repr=False)

    async def request(self, number: int) -> Received:
        """Request `number`, from 0; waits until it has arrived."""
        while len(self.received) <= number:
            await self._arrival.wait()
        return self.received[number]

    def note(self, question: Question) -> Received:
        received = Received(len(self.received), question, trio.current_time())
        self.received.append(received)
        self._arrival.set()
        self._arrival = trio.Event()
        return received


@asynccontextmanager
async def open_openai(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    key: str | None = None,
    behaviour: Behaviour | None = None,
) -> AsyncGenerator[FakeOpenAI]:
    """Serve the fake until the block ends; it is ready when the block begins.

    Port 0 selects a free one. With `key` no other key is accepted, without it any is. Raises
    OSError when the port is taken.
    """
    listener = Listener.open(host, port)
    fake = FakeOpenAI(f"{listener.url}/v1", key or KEY, behaviour or Behaviour())
    async with listener.serving(_App(fake, key)):
        yield fake


@define(eq=False)
class _App:
    fake: FakeOpenAI
    only_key: str | None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await serving.run_lifespan(receive, send)
        elif scope["type"] == "http":
            try:
                await self._route(scope, receive, send)
            except ApiFault as fault:
                await _send_fault(send, fault)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._check_key(scope)
        match scope["method"], scope["path"]:
            case "GET", "/v1/models":
                await trio.sleep(self.fake.behaviour.delay)
                await _send_json(send, wire.models())
            case "GET", path if path.startswith("/v1/models/"):
                await _send_json(send, wire.model(path.removeprefix("/v1/models/")))
            case "POST", "/v1/chat/completions":
                question = wire.read_question(await _body(receive))
                await self._complete(self.fake.note(question), receive, send)
            case "PUT", "/v1/sandbox/behaviour":
                changes = await _body(receive)
                try:
                    settings = serving.replace_settings(self.fake.behaviour, changes)
                except ValueError as error:
                    raise wire.invalid(str(error)) from None
                await _send_json(send, settings)
            case "GET", "/v1/sandbox/requests":
                await _send_json(send, [_summary(received) for received in self.fake.received])
            case method, path:
                raise wire.ApiFault(404, f"Invalid URL ({method} {path})", "invalid_request_error")

    def _check_key(self, scope: Scope) -> None:
        headers = dict(cast("list[tuple[bytes, bytes]]", scope["headers"]))
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not key.strip():
            raise wire.ApiFault(401, "You didn't provide an API key.", "invalid_request_error")
        if self.only_key is not None and not hmac.compare_digest(key, self.only_key.encode()):
            raise wire.invalid_key()

    async def _complete(self, received: Received, receive: Receive, send: Send) -> None:
        """Responds, and records a disconnect of the client meanwhile."""
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                received.end("disconnected")
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            try:
                await self._answer(received, send)
            except ApiFault as fault:
                received.end("refused")
                await _send_fault(send, fault)
            nursery.cancel_scope.cancel()

    async def _answer(self, received: Received, send: Send) -> None:
        behaviour, question = self.fake.behaviour, received.question
        if (fault := behaviour.fault) is not None:
            behaviour.fault = serving.count_down(fault)
        await trio.sleep(behaviour.delay)
        if fault is not None and fault.kind == "hang":
            await trio.sleep_forever()
        if fault is not None and fault.kind == "status":
            raise wire.staged(fault.status, fault.code, fault.retry_after)
        answer = answer_to(question, fault)
        if question.stream:
            parts = [_event(chunk) for chunk in wire.chunks(question, answer, behaviour.chunk_size)]
            parts.append(b"data: [DONE]\n\n")
            await self._send_parts(received, send, parts, "text/event-stream", fault)
        else:
            whole = orjson.dumps(wire.completion(question, answer))
            parts = [whole[: len(whole) // 2], whole[len(whole) // 2 :]]
            await self._send_parts(received, send, parts, "application/json", fault)

    async def _send_parts(
        self,
        received: Received,
        send: Send,
        parts: list[bytes],
        content_type: str,
        fault: Fault | None,
    ) -> None:
        headers = {"Content-Type": content_type, "X-Request-Id": REQUEST_ID}
        await serving.start_response(send, 200, headers)
        cut = len(parts) // 2 if fault is not None and fault.kind == "cut" else None
        for position, part in enumerate(parts):
            if position == cut:
                # Returning before the body is complete makes the server close the connection.
                received.end("cut")
                return
            last = position == len(parts) - 1
            if last:
                received.end("answered")
            await send({"type": "http.response.body", "body": part, "more_body": not last})
            if not last and received.question.stream:
                await trio.sleep(self.fake.behaviour.chunk_delay)


def _summary(received: Received) -> Body:
    question = received.question
    return {
        "number": received.number,
        "contract": question.name,
        "model": question.model,
        "stream": question.stream,
        "images": len(question.images),
        "outcome": received.outcome,
        "seconds": received.seconds,
    }


def _event(chunk: Body) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


async def _body(receive: Receive) -> object:
    content = await serving.read_body(receive)
    if content is None:
        raise wire.invalid("The client left.")
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        raise wire.invalid("We could not parse the JSON body of your request.") from None


async def _send_json(
    send: Send, body: object, status: int = 200, headers: dict[str, str] | None = None
) -> None:
    headers = {"Content-Type": "application/json", "X-Request-Id": REQUEST_ID, **(headers or {})}
    await serving.send_response(send, status, headers, orjson.dumps(body))


async def _send_fault(send: Send, fault: ApiFault) -> None:
    headers: dict[str, str] = {}
    if fault.retry_after is not None:
        headers["Retry-After"] = str(ceil(fault.retry_after))
    await _send_json(send, fault.body, fault.status, headers)
