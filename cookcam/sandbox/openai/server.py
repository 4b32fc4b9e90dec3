"""The stand-in on a listener: paths, keys, streams, and what clients did meanwhile.

A bare ASGI application: when a client goes away is half of what it is for, and this way nothing
stands between the protocol and the record of it.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import ceil
from typing import Any, Literal, TypeAlias, cast

import orjson
import trio
from attrs import define, field
from cattrs import Converter
from cattrs.errors import BaseValidationError

from cookcam.sandbox.listening import Listener
from cookcam.sandbox.openai import wire
from cookcam.sandbox.openai.behaviour import Behaviour, Fault
from cookcam.sandbox.openai.model import answer_to
from cookcam.sandbox.openai.wire import ApiFault, Body, Question

Scope: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]

KEY = "sk-sandbox"
"""A key that works; so does any other, unless the stand-in was told which one."""


@define(eq=False)
class Received:
    """A request for a completion, and how it ended; `seconds` from its last byte to its end.

    "disconnected": the client went away before the answer was complete.
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
    """A running stand-in: `url` is what `OPENAI_BASE_URL` has to be, `key` goes with it.

    `received` are the requests for completions so far, in order.
    """

    url: str
    key: str = field(repr=False)
    behaviour: Behaviour
    received: list[Received] = field(init=False, factory=list[Received])
    _arrival: trio.Event = field(init=False, factory=trio.Event, repr=False)

    async def request(self, number: int) -> Received:
        """Request `number`, from 0; waits until it is there."""
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
    """Serves the stand-in until the block ends; it answers when the block begins.

    Port 0 takes a free one. With `key` no other key is accepted, without it any is. Raises
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
            await _live(receive, send)
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
                await _send_json(send, self._behave(await _body(receive)))
            case "GET", "/v1/sandbox/requests":
                await _send_json(send, [_told(received) for received in self.fake.received])
            case method, path:
                raise wire.ApiFault(404, f"Invalid URL ({method} {path})", "invalid_request_error")

    def _check_key(self, scope: Scope) -> None:
        headers = dict(cast("list[tuple[bytes, bytes]]", scope["headers"]))
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not key.strip():
            raise wire.ApiFault(401, "You didn't provide an API key.", "invalid_request_error")
        if self.only_key is not None and not hmac.compare_digest(key, self.only_key.encode()):
            raise wire.invalid_key()

    def _behave(self, wanted: object) -> Body:
        """Not OpenAI's: replaces the named settings of the stand-in and tells all of them."""
        converter = Converter(forbid_extra_keys=True)
        behaviour = self.fake.behaviour
        known = cast("Body", converter.unstructure(behaviour))
        try:
            changed = converter.structure({**known, **cast("Body", wanted)}, Behaviour)
        except (BaseValidationError, TypeError):
            raise wire.invalid("not a behaviour of the stand-in") from None
        for name in known:
            setattr(behaviour, name, getattr(changed, name))
        return cast("Body", converter.unstructure(behaviour))

    async def _complete(self, received: Received, receive: Receive, send: Send) -> None:
        """Answers while watching whether the client is still there."""
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
        fault = behaviour.take_fault()
        await trio.sleep(behaviour.delay)
        if fault is not None and fault.kind == "hang":
            await trio.sleep_forever()
        if fault is not None and fault.kind == "status":
            raise wire.staged(fault.status, fault.code, fault.retry_after)
        answer = answer_to(question, fault)
        if question.stream:
            parts = [_event(chunk) for chunk in wire.chunks(question, answer, behaviour.chunk_size)]
            parts.append(b"data: [DONE]\n\n")
            await self._send_parts(received, send, parts, b"text/event-stream", fault)
        else:
            whole = orjson.dumps(wire.completion(question, answer))
            parts = [whole[: len(whole) // 2], whole[len(whole) // 2 :]]
            await self._send_parts(received, send, parts, b"application/json", fault)

    async def _send_parts(
        self,
        received: Received,
        send: Send,
        parts: list[bytes],
        content_type: bytes,
        fault: Fault | None,
    ) -> None:
        await _start(send, 200, [(b"content-type", content_type)])
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


def _told(received: Received) -> Body:
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


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _body(receive: Receive) -> object:
    content = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise wire.invalid("The client left.")
        content += message.get("body", b"")
        more = message.get("more_body", False)
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        raise wire.invalid("We could not parse the JSON body of your request.") from None


async def _start(send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    headers = [*headers, (b"x-request-id", b"req_sandbox")]
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _send_json(
    send: Send, body: object, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    await _start(send, status, [(b"content-type", b"application/json"), *(headers or [])])
    await send({"type": "http.response.body", "body": orjson.dumps(body), "more_body": False})


async def _send_fault(send: Send, fault: ApiFault) -> None:
    headers: list[tuple[bytes, bytes]] = []
    if fault.retry_after is not None:
        headers.append((b"retry-after", str(ceil(fault.retry_after)).encode()))
    await _send_json(send, fault.body, fault.status, headers)
