"""Sends one request to Stripe through its library, with our retries and deadlines.

The library's own retries are off: ours reuse the idempotency key, honour Stripe's Retry-After, and
end with the policy's deadline.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast
from uuid import uuid4

import structlog
import trio
from attrs import Factory, define, field, frozen

from cookcam.config.readers import Secret
from cookcam.errors import ServiceAuthError
from cookcam.integrations.circuit_breaker import CircuitBreaker, CircuitOpen
from cookcam.integrations.http_client import Lazy
from cookcam.integrations.retry import RetryPolicy, ServiceTimeout
from cookcam.integrations.stripe.errors import AttemptFailed, StripeUnavailable, failure_of
from cookcam.integrations.stripe.reading import (
    API_VERSION,
    MalformedObject,
    Object,
    Page,
    objects,
)

if TYPE_CHECKING:
    from stripe import StripeClient

T = TypeVar("T")
Send: TypeAlias = Callable[["StripeClient", Any], Awaitable[Any]]
"""Sends one request with the library's client and its request options."""

MAX_PAGE = 100
"""Stripe's maximum number of objects on a page."""

STEP_TIMEOUT = 8.0
"""Seconds for one step of a request (connecting, sending, reading), as a fallback: cancel scopes
limit the whole request."""


@frozen
class StripeResponse:
    """`as_of` is Stripe's time, not later than the moment of the request."""

    document: Object
    as_of: datetime


@define(eq=False)
class Library:
    """Stripe's library, opened on the first call or by `Stripe.warm_up`.

    The import takes some tenths of a second, so it runs in a thread.
    """

    secret_key: Secret
    api_base: str
    breaker: CircuitBreaker = field(factory=CircuitBreaker)
    _opened: Lazy[tuple[StripeClient, Any]] = field(
        default=Factory(lambda library: Lazy(library._open), takes_self=True), init=False
    )

    async def client(self) -> StripeClient:
        client, _ = await self._opened.get()
        return client

    def _open(self) -> tuple[StripeClient, Any]:
        import stripe

        stripe.enable_telemetry = False  # it writes a file into the home directory
        http = stripe.HTTPXClient(timeout=STEP_TIMEOUT)
        client = stripe.StripeClient(
            self.secret_key.reveal(),
            stripe_version=API_VERSION,
            base_addresses={"api": self.api_base},
            max_network_retries=0,
            http_client=http,
        )
        return client, http

    async def close(self) -> None:
        if self._opened.created is not None:
            _, http = self._opened.created
            await http.close_async()


@define(eq=False)
class StripeRequests:
    """Base of the parts of `Stripe`: sends their requests."""

    _library: Library
    _policy: RetryPolicy

    async def _request(self, send: Send, key: str | None = None) -> StripeResponse:
        """Sends one request; retries it with the same idempotency key."""
        options: dict[str, Any] = {} if key is None else {"idempotency_key": key}
        client = await self._library.client()
        with self._deadline():
            attempt = 1
            while True:
                try:
                    with self._library.breaker.attempt():
                        return await send_once(send, client, options)
                except CircuitOpen as circuit:
                    raise StripeUnavailable(retry_after=circuit.retry_after) from None
                except AttemptFailed as caught:
                    failure = caught
                # Outside the handler, so that the library's exception is not our error's context.
                await self._wait_before_retry(failure, attempt)
                attempt += 1

    async def _call(self, operation: str, *args: Any, key: str | None = None) -> StripeResponse:
        """Calls an operation of the library by its path under `v1`, such as "charges.retrieve"."""
        method = attrgetter(f"{operation}_async")
        return await self._request(lambda client, options: method(client.v1)(*args, options), key)

    @contextmanager
    def _deadline(self) -> Generator[None]:
        """Limits an operation of one or more requests. Raises ServiceTimeout."""
        with trio.move_on_after(self._policy.deadline) as scope:
            yield
        if scope.cancelled_caught:
            structlog.get_logger(__name__).warning("Stripe request timed out")
            raise ServiceTimeout

    async def _wait_before_retry(self, failure: AttemptFailed, attempt: int) -> None:
        """Waits for the next attempt; raises the failure's error when there is none."""
        policy = self._policy
        max_delay = min(policy.max_delay, policy.initial_delay * 2 ** (attempt - 1))
        delay = failure.wait + random.uniform(max_delay / 2, max_delay)  # noqa: S311
        too_late = trio.current_time() + delay >= trio.current_effective_deadline()
        retries = failure.repeatable and attempt < policy.attempts and not too_late
        if isinstance(failure.error, (StripeUnavailable, ServiceAuthError)):
            structlog.get_logger(__name__).warning(
                "Stripe request failed",
                kind=type(failure.error).__name__,
                attempt=attempt,
                retries=retries,
            )
        if not retries:
            raise failure.error
        await trio.sleep(delay)


async def send_once(send: Send, client: StripeClient, options: dict[str, Any]) -> StripeResponse:
    """Raises AttemptFailed."""
    import stripe

    started_at, started = datetime.now(UTC), trio.current_time()
    try:
        document: Any = await send(client, options)
        response = (
            document if isinstance(document, stripe.StripeResponse) else document.last_response
        )
        body, date = response.data, response.headers.get("date")
    except stripe.StripeError as error:
        raise failure_of(error) from None
    except (ValueError, AttributeError, TypeError):  # the body is not a JSON object
        raise AttemptFailed(StripeUnavailable(), repeatable=True) from None
    if not isinstance(body, Mapping):
        raise AttemptFailed(MalformedObject(), repeatable=False)
    elapsed = trio.current_time() - started
    return StripeResponse(cast("Object", body), _request_time(date, started_at, elapsed))


def _request_time(date: str | None, started_at: datetime, elapsed: float) -> datetime:
    """The moment of the request on Stripe's clock; on ours when the response has no date.

    Stripe's `Date` is from the end of the request. The duration of the request is subtracted, so
    that an event that happened during the request never counts as older than what was read.
    """
    try:
        responded_at = parsedate_to_datetime(date or "")
    except ValueError:
        return started_at
    if responded_at.tzinfo is None:
        return started_at
    return responded_at - timedelta(seconds=elapsed)


def without_none(**params: Any) -> Any:
    return {name: value for name, value in params.items() if value is not None}


def parse_page(response: StripeResponse, parse: Callable[[Object], T]) -> Page[T]:
    """Parses a page of a list. An object that cannot be parsed is logged and left out.

    Raises MalformedObject when the page itself does not have its documented shape, and when there
    is a next page but no id to request it with.
    """
    try:
        listed = objects(response.document["data"])
        has_more = response.document["has_more"] is True
    except (KeyError, TypeError):
        raise MalformedObject from None
    items: list[T] = []
    last_id: str | None = None
    for document in listed:
        object_id = document.get("id") if isinstance(document, Mapping) else None  # pyright: ignore[reportUnnecessaryIsInstance]
        if isinstance(object_id, str):
            last_id = object_id
        try:
            items.append(parse(document))
        except MalformedObject:
            structlog.get_logger(__name__).error(
                "object of a Stripe list cannot be read", object_id=object_id
            )
    if has_more and last_id is None:
        raise MalformedObject
    return Page(items, last_id if has_more else None, len(listed) - len(items))


def parse_complete_list(response: StripeResponse, parse: Callable[[Object], T]) -> Sequence[T]:
    """Parses a list of which no object may be missing. Raises MalformedObject."""
    page = parse_page(response, parse)
    if page.unreadable:
        raise MalformedObject
    return page.items


def parse_url(response: StripeResponse) -> str:
    url = response.document.get("url")
    if not isinstance(url, str):
        raise MalformedObject
    return url


def new_idempotency_key() -> str:
    """A key for operations that may be repeated, but not within the attempts of one call."""
    return str(uuid4())
