"""One request for a chat completion: its body, its result as a whole or streamed, its metrics."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import trio
from attrs import field, frozen

from cookcam.integrations.circuit_breaker import CircuitBreaker
from cookcam.integrations.openai.errors import AttemptFailed, Outcome, unavailable, unusable
from cookcam.integrations.openai.items import ItemScanner
from cookcam.integrations.openai.json_schema import Shapes
from cookcam.integrations.openai.library import Library, errors_as_failures
from cookcam.integrations.openai.usage import Tokens, UsageMeter

if TYPE_CHECKING:
    from openai import AsyncStream
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletion, ChatCompletionChunk

S = TypeVar("S")

PROGRESS_INTERVAL = 0.25
"""Minimum seconds between two Progress events."""


@frozen
class Progress:
    """How much text has arrived: characters, and pieces (about one per token)."""

    characters: int
    pieces: int


@frozen
class Item:
    """The next element of the streamed list, complete and validated; `index` counts from 0."""

    index: int
    value: Any


@frozen
class Restarted:
    """The request is being retried: items received before this event are void."""


@frozen
class Finished(Generic[S]):
    """The last event: the whole value, accepted by `check`."""

    value: S


Event: TypeAlias = Progress | Item | Restarted | Finished[S]


@frozen
class CompletionRequest(Generic[S]):
    """The body of a request, the shape of its result, and the scope that ends at its deadline."""

    shape: type[S]
    contract: str
    body: dict[str, Any] = field(repr=False)
    check: Callable[[S], None] | None
    scope: trio.CancelScope


@frozen
class Completions:
    """Sends requests, at most as many at a time as there are `slots`; further ones wait."""

    library: Library
    meter: UsageMeter
    slots: trio.Semaphore
    shapes: Shapes = field(repr=False)
    breaker: CircuitBreaker

    async def create(self, request: CompletionRequest[S]) -> S:
        """Send one request and read its completion as a whole. Raises AttemptFailed,
        and CircuitOpen."""
        client = await self.library.client()
        self.breaker.check()  # before the wait for a slot
        async with self.slots:
            with self.breaker.attempt(), self._measured(request):
                with errors_as_failures():
                    create: Any = client.chat.completions.create
                    completion: ChatCompletion = await create(**request.body)
                    self._count_tokens(request, completion.usage)
                    choice = completion.choices[0]
                    text = choice.message.content or ""
                    _require_complete(choice.finish_reason, choice.message.refusal)
                return self._validated(request, text)

    async def stream(
        self, request: CompletionRequest[S], items: str, read_item: Callable[[str], Any]
    ) -> AsyncGenerator[Event[S]]:
        """Send one request and yield events while its completion arrives. Raises like `create`."""
        scanner, index = ItemScanner(items), 0
        text, pieces, reported_at = "", 0, trio.current_time()
        self.breaker.check()  # before the wait for a slot
        async with self.slots:
            with self.breaker.attempt(), self._measured(request):
                async with aclosing(self._pieces(request)) as received:
                    async for piece in received:
                        text, pieces = text + piece, pieces + 1
                        for item in _completed_items(scanner, piece, read_item):
                            yield Item(index, item)
                            index += 1
                        if trio.current_time() - reported_at >= PROGRESS_INTERVAL:
                            reported_at = trio.current_time()
                            yield Progress(len(text), pieces)
                value = self._validated(request, text)
        yield Progress(len(text), pieces)
        yield Finished(value)

    async def _pieces(self, request: CompletionRequest[Any]) -> AsyncGenerator[str]:
        """Yield the text as it arrives. Raises AttemptFailed, possibly after the last piece."""
        client = await self.library.client()
        finish_reason, rejected = None, False
        with errors_as_failures():
            create: Any = client.chat.completions.create
            stream: AsyncStream[ChatCompletionChunk] = await create(**request.body)
            async with stream as chunks:
                async for chunk in chunks:
                    self._count_tokens(request, chunk.usage)
                    for choice in chunk.choices[:1]:  # the chunk with the usage has no choices
                        finish_reason = choice.finish_reason or finish_reason
                        rejected = rejected or bool(choice.delta.refusal)
                        if choice.delta.content:
                            yield choice.delta.content
        if finish_reason is None and not rejected:
            raise unavailable()  # the connection closed in the middle of the completion
        _require_complete(finish_reason, rejected)

    def _validated(self, request: CompletionRequest[S], text: str) -> S:
        """Read and check the value. Raises AttemptFailed."""
        try:
            value = self.shapes.read(request.shape, text)
            if request.check is not None:
                request.check(value)
        except ValueError:
            raise unusable("invalid") from None
        return value

    @contextmanager
    def _measured(self, request: CompletionRequest[Any]) -> Generator[None]:
        """Count one request, its outcome and its duration."""
        began = trio.current_time()
        outcome: Outcome = "broken"
        try:
            yield
            outcome = "ok"
        except AttemptFailed as failure:
            outcome = failure.outcome
            raise
        except (trio.Cancelled, GeneratorExit):
            outcome = "timed_out" if request.scope.cancel_called else "cancelled"
            raise
        finally:
            self.meter.count_request(request.contract, outcome, trio.current_time() - began)

    def _count_tokens(self, request: CompletionRequest[Any], usage: CompletionUsage | None) -> None:
        if usage is not None:
            details = usage.prompt_tokens_details
            cached = (details.cached_tokens or 0) if details is not None else 0
            tokens = Tokens(usage.prompt_tokens, cached, usage.completion_tokens)
            self.meter.count_tokens(request.contract, tokens)


def request_body(
    model: str,
    name: str,
    schema: dict[str, Any],
    messages: Sequence[dict[str, Any]],
    temperature: float,
    max_tokens: int,
) -> dict[str, Any]:
    """Build the body of a request for structured output that follows `schema` strictly."""
    json_schema = {"name": name, "strict": True, "schema": schema}
    return {
        "model": model,
        "messages": list(messages),
        "response_format": {"type": "json_schema", "json_schema": json_schema},
        "temperature": temperature,
        "max_completion_tokens": max_tokens,
    }


def request_messages(
    instructions: str, prompt: str, images: Sequence[bytes]
) -> list[dict[str, Any]]:
    """Build the system message and the user message, with JPEG files as data URLs."""
    content: str | list[dict[str, Any]] = prompt
    if images:
        content = [{"type": "text", "text": prompt}]
        for image in images:
            url = f"data:image/jpeg;base64,{b64encode(image).decode()}"
            content.append({"type": "image_url", "image_url": {"url": url}})
    return [
        {"role": "system", "content": instructions},
        {"role": "user", "content": content},
    ]


def _completed_items(
    scanner: ItemScanner, piece: str, read_item: Callable[[str], S]
) -> Generator[S]:
    """Yield the items that `piece` completes. Raises AttemptFailed."""
    try:
        for text in scanner.feed(piece):
            yield read_item(text)
    except ValueError:
        raise unusable("invalid") from None


def _require_complete(finish_reason: str | None, refusal: object) -> None:
    """Raises AttemptFailed for a refusal and for a completion that was cut short."""
    if refusal:
        raise unusable("refused")
    if finish_reason == "length":
        raise unusable("truncated")
    if finish_reason == "content_filter":
        raise unusable("filtered")
    if finish_reason != "stop":
        raise unusable("invalid")
