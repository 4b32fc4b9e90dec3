"""One request to the model: the answer as a whole, or piece by piece, counted and metered."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from attrs import field, frozen

from cookcam.integrations.openai.errors import AttemptFailed, Outcome, unavailable, unusable
from cookcam.integrations.openai.events import Event, Finished, Item, Progress
from cookcam.integrations.openai.items import ItemScanner
from cookcam.integrations.openai.json_schema import Shapes
from cookcam.integrations.openai.library import Library, errors_as_failures
from cookcam.integrations.openai.question import Question
from cookcam.integrations.openai.usage import Tokens, UsageMeter

if TYPE_CHECKING:
    from openai import AsyncStream
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletion, ChatCompletionChunk

S = TypeVar("S")

PROGRESS_INTERVAL = 0.25
"""Seconds between two Progress events, at least."""


@frozen
class Asking:
    """Sends requests, as many at a time as there are `slots`; the others wait."""

    library: Library
    meter: UsageMeter
    slots: trio.Semaphore
    shapes: Shapes = field(repr=False)

    async def ask(self, question: Question[S]) -> S:
        """One request for a whole answer. Raises AttemptFailed."""
        client = await self.library.client()
        async with self.slots:
            with self._counted(question):
                with errors_as_failures():
                    create: Any = client.chat.completions.create
                    completion: ChatCompletion = await create(**question.body)
                    self._meter_usage(question, completion.usage)
                    choice = completion.choices[0]
                    text = choice.message.content or ""
                    _require_complete(choice.finish_reason, choice.message.refusal)
                return self._accepted(question, text)

    async def listen(
        self, question: Question[S], items: str, read_item: Callable[[str], Any]
    ) -> AsyncGenerator[Event[S]]:
        """One request for an answer in pieces. Raises AttemptFailed."""
        scanner, index = ItemScanner(items), 0
        text, pieces, reported_at = "", 0, trio.current_time()
        async with self.slots:
            with self._counted(question):
                async with aclosing(self._pieces(question)) as received:
                    async for piece in received:
                        text, pieces = text + piece, pieces + 1
                        for item in _readable(scanner, piece, read_item):
                            yield Item(index, item)
                            index += 1
                        if trio.current_time() - reported_at >= PROGRESS_INTERVAL:
                            reported_at = trio.current_time()
                            yield Progress(len(text), pieces)
                value = self._accepted(question, text)
        yield Progress(len(text), pieces)
        yield Finished(value)

    async def _pieces(self, question: Question[Any]) -> AsyncGenerator[str]:
        """The text of an answer as it comes. Raises AttemptFailed, after the last piece too."""
        client = await self.library.client()
        finish_reason, refused = None, False
        with errors_as_failures():
            create: Any = client.chat.completions.create
            stream: AsyncStream[ChatCompletionChunk] = await create(**question.body)
            async with stream as chunks:
                async for chunk in chunks:
                    self._meter_usage(question, chunk.usage)
                    for choice in chunk.choices[:1]:  # none in the one that tells the usage
                        finish_reason = choice.finish_reason or finish_reason
                        refused = refused or bool(choice.delta.refusal)
                        if choice.delta.content:
                            yield choice.delta.content
        if finish_reason is None and not refused:
            raise unavailable()  # the stream ended before the answer did
        _require_complete(finish_reason, refused)

    def _accepted(self, question: Question[S], text: str) -> S:
        """The value of an answer. Raises AttemptFailed."""
        try:
            value = self.shapes.read(question.shape, text)
            if question.check is not None:
                question.check(value)
        except ValueError:
            raise unusable("invalid") from None
        return value

    @contextmanager
    def _counted(self, question: Question[Any]) -> Generator[None]:
        """Counts one request and how it ended."""
        began = trio.current_time()
        outcome: Outcome = "broken"
        try:
            yield
            outcome = "ok"
        except AttemptFailed as failure:
            outcome = failure.outcome
            raise
        except (trio.Cancelled, GeneratorExit):
            outcome = "timed_out" if question.scope.cancel_called else "cancelled"
            raise
        finally:
            self.meter.asked(question.contract, outcome, trio.current_time() - began)

    def _meter_usage(self, question: Question[Any], usage: CompletionUsage | None) -> None:
        if usage is not None:
            details = usage.prompt_tokens_details
            cached = (details.cached_tokens or 0) if details is not None else 0
            tokens = Tokens(usage.prompt_tokens, cached, usage.completion_tokens)
            self.meter.used(question.contract, tokens)


def _readable(scanner: ItemScanner, piece: str, read_item: Callable[[str], S]) -> Generator[S]:
    """The items that `piece` completes. Raises AttemptFailed."""
    try:
        for text in scanner.feed(piece):
            yield read_item(text)
    except ValueError:
        raise unusable("invalid") from None


def _require_complete(finish_reason: str | None, refusal: object) -> None:
    """Raises AttemptFailed for an answer that is none, or not all of one."""
    if refusal:
        raise unusable("refused")
    if finish_reason == "length":
        raise unusable("truncated")
    if finish_reason == "content_filter":
        raise unusable("filtered")
    if finish_reason != "stop":
        raise unusable("invalid")
