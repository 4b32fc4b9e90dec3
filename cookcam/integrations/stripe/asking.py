"""One request to Stripe: sent by its library, repeated by us, bounded in time.

The library's own retries are off: ours repeat with the same idempotency key, wait as long as Stripe
asks, and end with the caller's patience.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast
from uuid import uuid4

import structlog
import trio
from attrs import define, frozen

from cookcam.errors import ServiceAuthError
from cookcam.integrations.retry import RetryPolicy, ServiceTimeout
from cookcam.integrations.stripe.errors import AttemptFailed, StripeUnavailable, failure_of
from cookcam.integrations.stripe.library import Library
from cookcam.integrations.stripe.reading import MalformedObject, Object, Page, objects

if TYPE_CHECKING:
    from stripe import StripeClient

T = TypeVar("T")
Send: TypeAlias = Callable[["StripeClient", Any], Awaitable[Any]]
"""One request: with the client, and the library's options of it."""

PAGE = 100
"""Objects per page, Stripe's largest."""


@frozen
class Answer:
    """`as_of` is Stripe's time, not later than the moment of the request."""

    document: Object
    as_of: datetime


@define(eq=False)
class Asking:
    """What every kind of request has in common: a base of the parts of `Stripe`."""

    _library: Library
    _policy: RetryPolicy

    async def _ask(self, send: Send, key: str | None = None) -> Answer:
        """The answer to one request, repeated as the policy says with the same idempotency key."""
        options: dict[str, Any] = {} if key is None else {"idempotency_key": key}
        client = await self._library.client()
        with self._in_time():
            attempt = 1
            while True:
                try:
                    return await once(send, client, options)
                except AttemptFailed as caught:
                    failure = caught
                # Outside the handler: nothing of the library's exceptions hangs on that error.
                await self._prepare_repeat(failure, attempt)
                attempt += 1

    @contextmanager
    def _in_time(self) -> Generator[None]:
        """Bounds an operation; the requests inside have the rest of its time."""
        with trio.move_on_after(self._policy.deadline) as scope:
            yield
        if scope.cancelled_caught:
            structlog.get_logger(__name__).warning("Stripe is out of time")
            raise ServiceTimeout

    async def _prepare_repeat(self, failure: AttemptFailed, attempt: int) -> None:
        """Waits as long as a repeat should; raises the failure's error when there is to be none."""
        policy = self._policy
        longest = min(policy.max_delay, policy.initial_delay * 2 ** (attempt - 1))
        pause = failure.wait + random.uniform(longest / 2, longest)  # noqa: S311
        too_late = trio.current_time() + pause >= trio.current_effective_deadline()
        repeats = failure.repeatable and attempt < policy.attempts and not too_late
        if isinstance(failure.error, (StripeUnavailable, ServiceAuthError)):
            structlog.get_logger(__name__).warning(
                "Stripe did not do as asked",
                kind=type(failure.error).__name__,
                attempt=attempt,
                repeats=repeats,
            )
        if not repeats:
            raise failure.error
        await trio.sleep(pause)


async def once(send: Send, client: StripeClient, options: dict[str, Any]) -> Answer:
    """Raises AttemptFailed."""
    import stripe

    began, sent = datetime.now(UTC), trio.current_time()
    try:
        document: Any = await send(client, options)
        response = (
            document if isinstance(document, stripe.StripeResponse) else document.last_response
        )
        body, date = response.data, response.headers.get("date")
    except stripe.StripeError as error:
        raise failure_of(error) from None
    except (ValueError, AttributeError, TypeError):  # an answer that is no object
        raise AttemptFailed(StripeUnavailable(), repeatable=True) from None
    if not isinstance(body, Mapping):
        raise AttemptFailed(MalformedObject(), repeatable=False)
    return Answer(cast("Object", body), _as_of(date, began, trio.current_time() - sent))


def _as_of(date: str | None, began: datetime, seconds: float) -> datetime:
    """The moment of the request on Stripe's clock; on ours where it does not tell its own.

    Its `Date` is from the end of the request. The time the request took is subtracted, so that
    an event that happened while it was on its way never counts as older than what was read.
    """
    try:
        answered = parsedate_to_datetime(date or "")
    except ValueError:
        answered = None
    if answered is None or answered.tzinfo is None:
        return began
    return answered - timedelta(seconds=seconds)


def given(**params: Any) -> Any:
    """Parameters without those that are None."""
    return {name: value for name, value in params.items() if value is not None}


def page(answer: Answer, read: Callable[[Object], T]) -> Page[T]:
    """A page of a list. An object that cannot be read is logged and left out.

    Raises MalformedObject where the page itself is not of its documented shape, and where another
    page follows that cannot be named.
    """
    try:
        found = objects(answer.document["data"])
        more = answer.document["has_more"] is True
    except (KeyError, TypeError):
        raise MalformedObject from None
    items: list[T] = []
    last_id: str | None = None
    for document in found:
        object_id = document.get("id") if isinstance(document, Mapping) else None  # pyright: ignore[reportUnnecessaryIsInstance]
        if isinstance(object_id, str):
            last_id = object_id
        try:
            items.append(read(document))
        except MalformedObject:
            structlog.get_logger(__name__).error(
                "object of a Stripe list cannot be read", object_id=object_id
            )
    if more and last_id is None:
        raise MalformedObject
    return Page(items, last_id if more else None, len(found) - len(items))


def all_of(answer: Answer, read: Callable[[Object], T]) -> Sequence[T]:
    """The objects of a list in which none may be missing. Raises MalformedObject."""
    found = page(answer, read)
    if found.unreadable:
        raise MalformedObject
    return found.items


def url_in(answer: Answer) -> str:
    url = answer.document.get("url")
    if not isinstance(url, str):
        raise MalformedObject
    return url


def new_key() -> str:
    """For what may happen twice, but should not within the attempts of one call."""
    return str(uuid4())
