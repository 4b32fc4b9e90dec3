"""Retry policy, errors and HTTP client for calls to the app stores and push services.

Three attempts of ten seconds each, with delays of one and two seconds plus up to 25% jitter, and
twenty-five seconds for all calls of one operation.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
import trio
from attrs import define, field, frozen

from cookcam.errors import AppError, ServiceUnavailable
from cookcam.integrations.circuit_breaker import CircuitBreaker, CircuitOpen
from cookcam.integrations.http_client import LazyHttpClient, send_traceparent
from cookcam.integrations.trust import trusted

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

UNKNOWN = "unknown"
"""Reason of a rejection when the store definitely does not have the subscription any more."""

RETRY_AFTER = 5
"""Default Retry-After in seconds, when the provider sends none."""

MAX_RETRY_AFTER = 3600
"""Upper limit for the provider's Retry-After, in seconds."""


@define(slots=False, eq=False)
class ProviderUnavailable(ServiceUnavailable):
    """The provider did not respond, or failed. `advice` is its Retry-After, in seconds."""

    default_message = "The store does not answer, please try again"

    advice: int | None = field(default=None, kw_only=True)

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [("Retry-After", str(self.advice or RETRY_AFTER))]


class UnreadableResponse(ProviderUnavailable):
    """The store's response is JSON, but has no known shape. The same object gives the same one."""


class ProviderMisconfigured(ProviderUnavailable):
    """Our credentials are missing or rejected: an alert for operators, a 503 for the client."""

    default_message = "Purchases cannot be checked at the moment"


@define(slots=False, eq=False)
class StoreRejected(AppError):
    """The store rejected the purchase for good. `reason` is for the audit log.

    The reason `UNKNOWN` means that the store does not have the subscription, or no longer has it.
    """

    status, code, default_message = 400, "PURCHASE_REJECTED", "Receipt validation failed"

    reason: str = field(default="rejected", kw_only=True)


@frozen
class ProviderCallPolicy:
    """Retry policy for provider calls, in seconds. `jitter` picks a factor between two limits.

    `deadline` is for all calls of an operation, `attempt_timeout` for each attempt. While the
    circuit of `breaker` is open, calls fail at once.
    """

    attempts: int = 3
    initial_delay: float = 1.0
    max_delay: float = 10.0
    attempt_timeout: float = 10.0
    deadline: float = 25.0
    jitter: Callable[[float, float], float] = random.uniform
    breaker: CircuitBreaker | None = None

    async def within(self, work: Callable[[], Awaitable[T]], provider: str) -> T:
        """Run `work` with all its calls within `deadline` seconds. Raises ProviderUnavailable."""
        with trio.move_on_after(self.deadline):
            return await work()
        structlog.get_logger(__name__).warning("provider call timed out", provider=provider)
        raise ProviderUnavailable()

    async def call(self, once: Callable[[], Awaitable[T]], *, attempts: int | None = None) -> T:
        """Return the first result of `once`, or raise the ProviderUnavailable of its last attempt.

        Honours the provider's Retry-After; one longer than `max_delay` is raised to the client.
        Only ProviderUnavailable is retried, except ProviderMisconfigured and UnreadableResponse.
        """
        allowed = attempts or self.attempts
        attempt_once = once if self.breaker is None else partial(self.breaker.call, once)
        for attempt in range(1, allowed + 1):
            failure: ProviderUnavailable
            try:
                with trio.move_on_after(self.attempt_timeout):
                    return await attempt_once()
                failure = ProviderUnavailable()
            except (ProviderMisconfigured, UnreadableResponse):
                raise
            except CircuitOpen as circuit:
                raise ProviderUnavailable(advice=circuit.retry_after) from None
            except ProviderUnavailable as error:
                failure = error
            advice = failure.advice or 0
            if attempt == allowed or advice > self.max_delay:
                raise failure
            delay = min(self.max_delay, self.initial_delay * 2 ** (attempt - 1))
            await trio.sleep(max(advice, delay * self.jitter(1.0, 1.25)))
        raise AssertionError("at least one attempt")


@define(eq=False)
class ProviderHttpClient:
    """An HTTP client for a provider's API, opened by the first request, in a thread.

    Open it with `contextlib.aclosing`.

    `http2` is for an API that requires it; it is then used without negotiation, with or without
    TLS.
    """

    http2: bool = False
    _client: LazyHttpClient = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._client = LazyHttpClient(self._open)

    async def opened(self) -> httpx.AsyncClient:
        return await self._client.get()

    async def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Raises ProviderUnavailable for a failed connection and for a 429 or 5xx response."""
        client = await self._client.get()
        import httpx

        try:
            return await client.request(method, url, **options)
        except httpx.HTTPError:
            raise ProviderUnavailable from None

    async def aclose(self) -> None:
        await self._client.aclose()

    def _open(self) -> httpx.AsyncClient:
        import httpx

        async def raise_unavailable(response: httpx.Response) -> None:
            # Here because the libraries that read the response drop its Retry-After.
            if response.status_code == 429 or response.status_code >= 500:
                raise unavailable(response.headers)

        return httpx.AsyncClient(
            http1=not self.http2,
            http2=self.http2,
            verify=True if self.http2 else trusted(),
            # The policy's cancel scopes limit the call; these timeouts are per step, as a fallback.
            timeout=httpx.Timeout(10.0, connect=5.0),
            limits=httpx.Limits(max_connections=20, max_keepalive_connections=10),
            event_hooks={"request": [send_traceparent], "response": [raise_unavailable]},
        )


def unavailable(headers: Mapping[str, str]) -> ProviderUnavailable:
    """Return the error for a 429 or 5xx response, with the provider's Retry-After if sent."""
    advice = headers.get("retry-after", "")
    if advice.isdecimal() and len(advice) < 8:
        return ProviderUnavailable(advice=min(MAX_RETRY_AFTER, max(1, int(advice))))
    return ProviderUnavailable()
