"""Structured answers of OpenAI's chat completions, whole or while they are being written.

One client for the program: its connections are reused, at most `concurrency` requests are
upstream at a time, and every call ends within the seconds its caller gives. The library's own
retries are off, because they multiply a caller's patience unseen; ours are one, and counted.
Source of the rules: `spec/http-api-core.md` §9.1 and §14 ("Do instead").

Importing the library takes most of a second, so that happens in a thread: in `warm_up`, or else
in the first call.
"""

from __future__ import annotations

import random
from base64 import b64encode
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import structlog
import trio
from attrs import define, field, frozen

from cookcam.observability.metrics import Metrics
from cookcam.providers.json_schema import Shapes, list_field
from cookcam.providers.openai_errors import (
    AttemptFailed,
    ModelOutOfTime,
    Outcome,
    UnusableAnswer,
    failure_of,
    unavailable,
    unusable,
)
from cookcam.providers.openai_items import ItemScanner
from cookcam.providers.openai_usage import Tokens, UsageMeter
from cookcam.settings.readers import Secret

if TYPE_CHECKING:
    from openai import AsyncOpenAI, AsyncStream
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletion, ChatCompletionChunk

__all__ = [
    "Event",
    "Finished",
    "Item",
    "ModelOutOfTime",
    "OpenAI",
    "Progress",
    "Restarted",
    "UnusableAnswer",
]

S = TypeVar("S")

ATTEMPTS = 2
"""Requests per call: the first and one repeat (`spec/http-api-core.md` §9.1)."""

LONGEST_JITTER = 0.5
"""Seconds. The repeat after a failure waits a random time up to this, on top of `Retry-After`:
callers who failed together do not return together."""

PROGRESS_EVERY = 0.25
"""Seconds between two Progress events, at least."""


@frozen
class Progress:
    """How much of the answer is there: characters, and pieces received (about one a token)."""

    characters: int
    pieces: int


@frozen
class Item:
    """The next element of the streamed list, complete and of its class; `index` from 0."""

    index: int
    value: Any


@frozen
class Restarted:
    """The answer was lost or no good and is asked for again: items given before are void."""


@frozen
class Finished(Generic[S]):
    """The whole answer, valid and accepted by `check`: the last event."""

    value: S


Event: TypeAlias = Progress | Item | Restarted | Finished[S]


@frozen
class _Question(Generic[S]):
    """One call, as its attempts need it."""

    shape: type[S]
    contract: str
    body: dict[str, Any] = field(repr=False)
    check: Callable[[S], None] | None
    scope: trio.CancelScope


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

    _api_key: Secret
    _base_url: str
    _model: str
    _concurrency: int
    _meter: UsageMeter
    _slots: trio.Semaphore
    _shapes: Shapes = field(factory=Shapes, repr=False)
    _client: AsyncOpenAI | None = field(default=None, repr=False)
    _opening: trio.Lock = field(factory=trio.Lock)

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
        slots = trio.Semaphore(concurrency, max_value=concurrency)
        opened = cls(api_key, base_url, model, concurrency, UsageMeter(model, metrics), slots)
        try:
            yield opened
        finally:
            if opened._client is not None:
                with trio.move_on_after(1, shield=True):
                    await opened._client.close()

    async def warm_up(self) -> None:
        """Imports the library ahead of the first call."""
        await self._connections()

    async def reachable(self) -> None:
        """Asks for the list of models, which costs nothing; once, unbounded: the caller bounds it.

        Raises as the class says.
        """
        client = await self._connections()
        try:
            with _errors_as_failures():
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
        """The model's answer as a `shape`: an attrs class, see `cookcam.providers.json_schema`.

        `name` is the schema's name at OpenAI and the contract's label in the metrics: letters,
        digits, `_` and `-`. `instructions` is the system message, `prompt` the user's; what users
        wrote goes into it through `cookcam.providers.openai_prompts.data_block`. `images` are
        JPEG files. `check` may raise ValueError to reject an answer (a wrong count, a disliked
        ingredient); it is then asked for again.
        """
        messages = _messages(instructions, prompt, images)
        body = self._body(shape, name, messages, temperature, max_tokens)
        with trio.move_on_after(seconds) as scope:
            question = _Question(shape, name, body, check, scope)
            attempt = 1
            while True:
                try:
                    return await self._ask(question)
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
            _messages(instructions, prompt, images),
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
            question = _Question(shape, name, body, check, scope)
            async with aclosing(self._events(question, items, read_item)) as events:
                yield events
        if scope.cancelled_caught:
            raise _out_of_time(name, seconds)

    async def _events(
        self, question: _Question[S], items: str, read_item: Callable[[str], Any]
    ) -> AsyncGenerator[Event[S]]:
        attempt = 1
        while True:
            try:
                async with aclosing(self._listen(question, items, read_item)) as events:
                    async for event in events:
                        yield event
                return
            except AttemptFailed as caught:
                failure = caught
            await self._prepare_repeat(question, failure, attempt)
            attempt += 1
            yield Restarted()

    async def _ask(self, question: _Question[S]) -> S:
        """One request for a whole answer. Raises AttemptFailed."""
        client = await self._connections()
        async with self._slots:
            with self._counted(question):
                with _errors_as_failures():
                    create: Any = client.chat.completions.create
                    completion: ChatCompletion = await create(**question.body)
                    self._meter_usage(question, completion.usage)
                    choice = completion.choices[0]
                    text = choice.message.content or ""
                    _require_complete(choice.finish_reason, choice.message.refusal)
                return self._accepted(question, text)

    async def _listen(
        self, question: _Question[S], items: str, read_item: Callable[[str], Any]
    ) -> AsyncGenerator[Event[S]]:
        """One request for an answer in pieces. Raises AttemptFailed."""
        scanner, index = ItemScanner(items), 0
        text, pieces, told = "", 0, trio.current_time()
        async with self._slots:
            with self._counted(question):
                async with aclosing(self._pieces(question)) as received:
                    async for piece in received:
                        text, pieces = text + piece, pieces + 1
                        for item in _readable(scanner, piece, read_item):
                            yield Item(index, item)
                            index += 1
                        if trio.current_time() - told >= PROGRESS_EVERY:
                            told = trio.current_time()
                            yield Progress(len(text), pieces)
                value = self._accepted(question, text)
        yield Progress(len(text), pieces)
        yield Finished(value)

    async def _pieces(self, question: _Question[Any]) -> AsyncGenerator[str]:
        """The text of an answer as it comes. Raises AttemptFailed, after the last piece too."""
        client = await self._connections()
        finish_reason, refused = None, False
        with _errors_as_failures():
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

    def _accepted(self, question: _Question[S], text: str) -> S:
        """The value of an answer. Raises AttemptFailed."""
        try:
            value = self._shapes.read(question.shape, text)
            if question.check is not None:
                question.check(value)
        except ValueError:
            raise unusable("invalid") from None
        return value

    async def _prepare_repeat(
        self, question: _Question[Any], failure: AttemptFailed, attempt: int
    ) -> None:
        """Waits as long as a repeat should; raises the failure's error when there is to be none.

        Called outside the handler: nothing of the library's exceptions hangs on that error.
        """
        log = structlog.get_logger(__name__)
        pause = 0.0 if failure.at_once else failure.wait + random.uniform(0, LONGEST_JITTER)  # noqa: S311
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

    @contextmanager
    def _counted(self, question: _Question[Any]) -> Generator[None]:
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
            self._meter.asked(question.contract, outcome, trio.current_time() - began)

    def _meter_usage(self, question: _Question[Any], usage: CompletionUsage | None) -> None:
        if usage is not None:
            details = usage.prompt_tokens_details
            cached = (details.cached_tokens or 0) if details is not None else 0
            tokens = Tokens(usage.prompt_tokens, cached, usage.completion_tokens)
            self._meter.used(question.contract, tokens)

    def _body(
        self,
        shape: type[Any],
        name: str,
        messages: list[dict[str, Any]],
        temperature: float,
        max_tokens: int,
    ) -> dict[str, Any]:
        schema = {"name": name, "strict": True, "schema": self._shapes.schema(shape)}
        return {
            "model": self._model,
            "messages": messages,
            "response_format": {"type": "json_schema", "json_schema": schema},
            "temperature": temperature,
            "max_completion_tokens": max_tokens,
        }

    async def _connections(self) -> AsyncOpenAI:
        if self._client is None:
            async with self._opening:
                if self._client is None:
                    self._client = await trio.to_thread.run_sync(self._new_client)
        return self._client

    def _new_client(self) -> AsyncOpenAI:
        """Runs in a thread: the imports take long, reading the certificates some milliseconds."""
        import httpx
        from openai import AsyncOpenAI

        # Answers take as long as they take: the bound is the callers' cancel scope.
        timeout = httpx.Timeout(None, connect=5.0)
        limits = httpx.Limits(max_connections=self._concurrency + 1, keepalive_expiry=30)
        return AsyncOpenAI(
            api_key=self._api_key.reveal(),
            base_url=self._base_url,
            max_retries=0,
            timeout=timeout,
            http_client=httpx.AsyncClient(
                timeout=timeout,
                limits=limits,
                # Plain HTTP, to a stand-in, has nothing to verify, and no redirect is followed.
                verify=self._base_url.startswith("https:"),
            ),
        )


@contextmanager
def _errors_as_failures() -> Generator[None]:
    """Turns what the library raises into AttemptFailed.

    Not chained: the frames and texts of those exceptions hold prompts and the key.
    """
    import httpx
    import openai

    try:
        yield
    except AttemptFailed:
        raise
    except (openai.OpenAIError, httpx.HTTPError, ValueError) as error:
        failure = failure_of(error)
    except (AttributeError, LookupError, TypeError):
        failure = unusable("invalid")  # JSON, but not what the API documents
    else:
        return
    raise failure


def _out_of_time(contract: str, seconds: float) -> ModelOutOfTime:
    log = structlog.get_logger(__name__)
    log.warning("language model took too long", contract=contract, seconds=seconds)
    return ModelOutOfTime()


def _messages(instructions: str, prompt: str, images: Sequence[bytes]) -> list[dict[str, Any]]:
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
