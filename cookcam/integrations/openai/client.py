"""Client of OpenAI's language models with structured output.

One client for the program: it reuses its connections, sends at most `concurrency` requests at a
time, and ends every call within the caller's `seconds`. A call is retried once.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any, TypeVar

import structlog
import trio
from attrs import define, field

from cookcam.config.readers import Secret
from cookcam.integrations.openai.asking import Asking
from cookcam.integrations.openai.errors import AttemptFailed, ModelOutOfTime
from cookcam.integrations.openai.events import Event, Restarted
from cookcam.integrations.openai.json_schema import Shapes, list_field
from cookcam.integrations.openai.library import Library, errors_as_failures
from cookcam.integrations.openai.question import Question, body_of, messages_of
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
    """A language model that answers in shapes; open it with `OpenAI.open`.

    `structured` and `stream` ask once, and once more after a 429, a 5xx, a lost connection or an
    unusable answer: two requests at most, all within `seconds`, the wait for a free slot included.
    Cancelling the caller closes the connection to OpenAI at once.

    Both raise ModelOutOfTime (504), UnusableAnswer (502), RateLimited (429), ServiceUnavailable
    (503: OpenAI answers 5xx or not at all), ServiceAuthError (500: our key is refused) and
    ServiceError (502: any other answer). Neither prompts nor answers are in an error or a log.
    """

    _model: str
    _library: Library
    _asking: Asking
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
    ) -> AsyncGenerator[OpenAI]:
        """A client; at most `concurrency` requests are upstream at a time, the others wait.

        `base_url` includes the version: `https://api.openai.com/v1`.
        """
        library, shapes = Library(api_key, base_url, concurrency), Shapes()
        slots = trio.Semaphore(concurrency, max_value=concurrency)
        asking = Asking(library, UsageMeter(model, metrics), slots, shapes)
        try:
            yield cls(model, library, asking, shapes)
        finally:
            with trio.move_on_after(1, shield=True):
                await library.close()

    async def warm_up(self) -> None:
        """Imports the library ahead of the first call."""
        await self._library.client()

    async def reachable(self) -> None:
        """Asks for the list of models, which costs nothing; once, unbounded: the caller bounds it.

        Raises as the class says.
        """
        client = await self._library.client()
        try:
            with errors_as_failures():
                await client.models.list()
            return
        except AttemptFailed as failed:
            error = failed.error
        raise error

    async def structured(
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
        """The model's answer as a `shape`: an attrs class, see `json_schema`.

        `name` is the schema's name at OpenAI and the contract's label in the metrics: letters,
        digits, `_` and `-`. `instructions` is the system message, `prompt` the user's; what users
        wrote goes into it through `cookcam.integrations.openai.prompts.data_block`. `images` are
        JPEG files. `check` may raise ValueError to reject an answer (a wrong count, a disliked
        ingredient); it is then asked for again.
        """
        messages = messages_of(instructions, prompt, images)
        body = self._body(shape, name, messages, temperature, max_tokens)
        with trio.move_on_after(seconds) as scope:
            question = Question(shape, name, body, check, scope)
            attempt = 1
            while True:
                try:
                    return await self._asking.ask(question)
                except AttemptFailed as caught:
                    failure = caught
                await self._prepare_repeat(question, failure, attempt)
                attempt += 1
        raise _out_of_time(name, seconds)

    def stream(
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
    ) -> AbstractAsyncContextManager[AsyncGenerator[Event[S]]]:
        """The same while it is being written:

            async with openai.stream(Recipes, items="recipes", ...) as events:
                async for event in events: ...

        Gives Progress now and then, an Item as soon as an element of the top-level list `items`
        (its key in JSON) is complete and valid, Restarted where the answer is asked for again, and
        Finished at the end. `check_item` may raise ValueError to reject an item before it is
        given; the answer is then given up at once. What the caller does in the block counts
        towards `seconds`. Leaving the block early ends the request.
        """
        return self._stream(
            shape,
            items,
            name,
            messages_of(instructions, prompt, images),
            temperature,
            max_tokens,
            seconds,
            check,
            check_item,
        )

    @asynccontextmanager
    async def _stream(
        self,
        shape: type[S],
        items: str,
        name: str,
        messages: list[dict[str, Any]],
        temperature: float,
        max_tokens: int,
        seconds: float,
        check: Callable[[S], None] | None,
        check_item: Callable[[Any], None] | None,
    ) -> AsyncGenerator[AsyncGenerator[Event[S]]]:
        element = list_field(shape, items)

        def read_item(text: str) -> Any:
            item = self._shapes.read(element, text)
            if check_item is not None:
                check_item(item)
            return item

        body = self._body(shape, name, messages, temperature, max_tokens)
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        with trio.move_on_after(seconds) as scope:
            question = Question(shape, name, body, check, scope)
            async with aclosing(self._events(question, items, read_item)) as events:
                yield events
        if scope.cancelled_caught:
            raise _out_of_time(name, seconds)

    async def _events(
        self, question: Question[S], items: str, read_item: Callable[[str], Any]
    ) -> AsyncGenerator[Event[S]]:
        attempt = 1
        while True:
            try:
                async with aclosing(self._asking.listen(question, items, read_item)) as events:
                    async for event in events:
                        yield event
                return
            except AttemptFailed as caught:
                failure = caught
            await self._prepare_repeat(question, failure, attempt)
            attempt += 1
            yield Restarted()

    async def _prepare_repeat(
        self, question: Question[Any], failure: AttemptFailed, attempt: int
    ) -> None:
        """Waits as long as a repeat should; raises the failure's error when there is to be none.

        Called outside the handler: nothing of the library's exceptions hangs on that error.
        """
        log = structlog.get_logger(__name__)
        pause = 0.0 if failure.at_once else failure.wait + random.uniform(0, MAX_JITTER)  # noqa: S311
        too_late = trio.current_time() + pause >= trio.current_effective_deadline()
        repeats = failure.repeatable and attempt < ATTEMPTS and not too_late
        log.warning(
            "language model gave no answer",
            contract=question.contract,
            outcome=failure.outcome,
            attempt=attempt,
            repeats=repeats,
        )
        if not repeats:
            raise failure.error
        await trio.sleep(pause)

    def _body(
        self,
        shape: type[Any],
        name: str,
        messages: list[dict[str, Any]],
        temperature: float,
        max_tokens: int,
    ) -> dict[str, Any]:
        schema = self._shapes.schema(shape)
        return body_of(self._model, name, schema, messages, temperature, max_tokens)


def _out_of_time(contract: str, seconds: float) -> ModelOutOfTime:
    log = structlog.get_logger(__name__)
    log.warning("language model took too long", contract=contract, seconds=seconds)
    return ModelOutOfTime()
