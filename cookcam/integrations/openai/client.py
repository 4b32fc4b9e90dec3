"""Client of OpenAI's language models: structured output, a deadline and one retry per call."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

import structlog
import trio
from attrs import define, field

from cookcam.config.readers import Secret
from cookcam.integrations.circuit_breaker import CircuitBreaker
from cookcam.integrations.openai.completions import (
    CompletionRequest,
    Completions,
    Event,
    Restarted,
    request_body,
    request_messages,
)
from cookcam.integrations.openai.errors import AttemptFailed, ModelTimeout
from cookcam.integrations.openai.json_schema import Shapes, list_field
from cookcam.integrations.openai.library import Library, errors_as_failures
from cookcam.integrations.openai.usage import UsageMeter
from cookcam.observability.metrics import Metrics

S = TypeVar("S")

ATTEMPTS = 2
"""Requests per call: the first and one retry."""

MAX_JITTER = 0.5
"""Maximum random delay of a retry in seconds, on top of `Retry-After`: callers that failed
together do not retry together."""


@define(eq=False)
class OpenAI:
    """Client of one language model with structured output; create it with `OpenAI.open`.

    `complete` and `stream` send one request, and a second one after a 429, a 5xx, a lost connection
    or an unusable completion. `seconds` limits both requests together, including the wait for a
    free slot. Cancelling the caller closes the connection to OpenAI at once.

    Both raise ModelTimeout (504), UnusableCompletion (502), RateLimited (429), ServiceUnavailable
    (503: 5xx or no response), ServiceAuthError (500: OpenAI rejects the API key) and ServiceError
    (502: any other status). Errors and log lines contain neither prompts nor completions.
    """

    _model: str
    _library: Library
    _completions: Completions
    _shapes: Shapes = field(repr=False)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        api_key: Secret,
        base_url: str,
        model: str,
        concurrency: int,
        metrics: Metrics,
        breaker: CircuitBreaker | None = None,
    ) -> AsyncGenerator[OpenAI]:
        """Open a client that sends at most `concurrency` requests at a time.

        `base_url` includes the version: `https://api.openai.com/v1`.
        """
        library, shapes = Library(api_key, base_url, concurrency), Shapes()
        slots = trio.Semaphore(concurrency, max_value=concurrency)
        meter = UsageMeter(model, metrics)
        completions = Completions(library, meter, slots, shapes, breaker or CircuitBreaker())
        try:
            yield cls(model, library, completions, shapes)
        finally:
            with trio.move_on_after(1, shield=True):
                await library.close()

    async def warm_up(self) -> None:
        """Import the library before the first call."""
        await self._library.client()

    async def reachable(self) -> None:
        """Request the list of models, which is free. No retry and no timeout of its own.

        Raises the errors listed at the class.
        """
        client = await self._library.client()
        try:
            with errors_as_failures():
                await client.models.list()
            return
        except AttemptFailed as failed:
            error = failed.error
        raise error

    async def complete(
        self,
        shape: type[S],
        *,
        name: str,
        instructions: str,
        prompt: str,
        images: Sequence[bytes] = (),
        temperature: float,
        max_tokens: int,
        seconds: float,
        check: Callable[[S], None] | None = None,
    ) -> S:
        """Return the model's completion as an instance of `shape`, an attrs class (`json_schema`).

        `name` is the schema's name at OpenAI and the contract's label in the metrics: letters,
        digits, `_` and `-`. `instructions` is the system message and `prompt` the user message;
        user input goes into the prompt through `cookcam.integrations.openai.prompts.data_block`.
        `images` are JPEG files. `check` may raise ValueError to reject a completion (a wrong count,
        a disliked ingredient), which causes the retry.
        """
        messages = request_messages(instructions, prompt, images)
        body = self._body(shape, name, messages, temperature, max_tokens)
        with trio.move_on_after(seconds) as scope:
            request = CompletionRequest(shape, name, body, check, scope)
            attempt = 1
            while True:
                try:
                    return await self._completions.create(request)
                except AttemptFailed as caught:
                    failure = caught
                await self._wait_before_retry(request, failure, attempt)
                attempt += 1
        raise _timed_out(name, seconds)

    @asynccontextmanager
    async def stream(
        self,
        shape: type[S],
        *,
        items: str,
        name: str,
        instructions: str,
        prompt: str,
        images: Sequence[bytes] = (),
        temperature: float,
        max_tokens: int,
        seconds: float,
        check: Callable[[S], None] | None = None,
        check_item: Callable[[Any], None] | None = None,
    ) -> AsyncGenerator[AsyncGenerator[Event[S]]]:
        """Like `complete`, with events while the completion arrives:

            async with openai.stream(Recipes, items="recipes", ...) as events:
                async for event in events: ...

        Yields Progress at intervals, an Item as soon as an element of the top-level list `items`
        (its key in JSON) is complete and valid, Restarted when the request is retried, and Finished
        at the end. `check_item` may raise ValueError to reject an item before it is yielded, which
        ends the request at once. Time spent in the caller's block counts towards `seconds`. Leaving
        the block early ends the request.
        """
        element = list_field(shape, items)

        def read_item(text: str) -> Any:
            item = self._shapes.read(element, text)
            if check_item is not None:
                check_item(item)
            return item

        messages = request_messages(instructions, prompt, images)
        body = self._body(shape, name, messages, temperature, max_tokens)
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        with trio.move_on_after(seconds) as scope:
            request = CompletionRequest(shape, name, body, check, scope)
            async with aclosing(self._events(request, items, read_item)) as events:
                yield events
        if scope.cancelled_caught:
            raise _timed_out(name, seconds)

    async def _events(
        self, request: CompletionRequest[S], items: str, read_item: Callable[[str], Any]
    ) -> AsyncGenerator[Event[S]]:
        attempt = 1
        while True:
            try:
                async with aclosing(self._completions.stream(request, items, read_item)) as events:
                    async for event in events:
                        yield event
                return
            except AttemptFailed as caught:
                failure = caught
            await self._wait_before_retry(request, failure, attempt)
            attempt += 1
            yield Restarted()

    async def _wait_before_retry(
        self, request: CompletionRequest[Any], failure: AttemptFailed, attempt: int
    ) -> None:
        """Wait before the retry. Raises the failure's error when there is no retry.

        Call it outside the except block, so that no exception of the library is chained to the
        error.
        """
        log = structlog.get_logger(__name__)
        delay = 0.0
        if not failure.retry_immediately:
            delay = failure.retry_after + random.uniform(0, MAX_JITTER)  # noqa: S311
        too_late = trio.current_time() + delay >= trio.current_effective_deadline()
        retries = failure.retryable and attempt < ATTEMPTS and not too_late
        log.warning(
            "language model request failed",
            contract=request.contract,
            outcome=failure.outcome,
            attempt=attempt,
            retries=retries,
        )
        if not retries:
            raise failure.error
        await trio.sleep(delay)

    def _body(
        self,
        shape: type[Any],
        name: str,
        messages: list[dict[str, Any]],
        temperature: float,
        max_tokens: int,
    ) -> dict[str, Any]:
        schema = self._shapes.schema(shape)
        return request_body(self._model, name, schema, messages, temperature, max_tokens)


def _timed_out(contract: str, seconds: float) -> ModelTimeout:
    log = structlog.get_logger(__name__)
    log.warning("language model timed out", contract=contract, seconds=seconds)
    return ModelTimeout()
