"""How the app stores are asked: bounded, repeated, and what their silence or refusal is called.

Source: `spec/payments-and-gamification.md` §7.3. Three attempts, a second and then two apart with
up to a quarter more, ten seconds for each, twenty-five for everything one answer needs.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import structlog
import trio
from attrs import define, field, frozen

from cookcam.errors import AppError, ServiceUnavailable
from cookcam.providers.trust import trusted

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

UNKNOWN = "unknown"
"""Why a store refuses what it has not, or no longer, beyond doubt: it may be ended here."""

RETRY_AFTER = 5
"""What we advise where the store advised nothing, in seconds."""

LONGEST_ADVICE = 3600


@define(slots=False, eq=False)
class StoreUnavailable(ServiceUnavailable):
    """The store did not answer, or was not able to. `advice`: its own Retry-After, in seconds."""

    default_message = "The store does not answer, please try again"

    advice: int | None = field(default=None, kw_only=True)

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [("Retry-After", str(self.advice or RETRY_AFTER))]


class StoreMisconfigured(StoreUnavailable):
    """Our own settings are missing or refused: an alarm for us, and "later" for the client."""

    default_message = "Purchases cannot be checked at the moment"


@define(slots=False, eq=False)
class StoreRefused(AppError):
    """The store's last word: what was shown to it is no purchase. `reason` is for the audit.

    `UNKNOWN` alone says that the store has not the subscription, or no longer.
    """

    status, code, default_message = 400, "PURCHASE_REJECTED", "Receipt validation failed"

    reason: str = field(default="rejected", kw_only=True)


@frozen
class StoreCalls:
    """The policy. `jitter` picks a factor from its bounds."""

    attempts: int = 3
    first_pause: float = 1.0
    longest_pause: float = 10.0
    per_call: float = 10.0
    whole: float = 25.0
    jitter: Callable[[float, float], float] = random.uniform

    async def within(self, work: Callable[[], Awaitable[T]], store: str) -> T:
        """`work`, all its calls together, within the deadline; raises StoreUnavailable."""
        with trio.move_on_after(self.whole):
            return await work()
        structlog.get_logger(__name__).warning("store does not answer in time", store=store)
        raise StoreUnavailable()

    async def call(self, once: Callable[[], Awaitable[T]], *, attempts: int | None = None) -> T:
        """The first result of `once`, or the StoreUnavailable of its last try.

        A wait the store asks for is honoured; one that does not fit is handed to the client.
        Nothing but StoreUnavailable is repeated, and what we have to mend ourselves is not.
        """
        allowed = attempts or self.attempts
        for tried in range(1, allowed + 1):
            failure: StoreUnavailable
            try:
                with trio.move_on_after(self.per_call):
                    return await once()
                failure = StoreUnavailable()
            except StoreMisconfigured:
                raise
            except StoreUnavailable as error:
                failure = error
            advice = failure.advice or 0
            if tried == allowed or advice > self.longest_pause:
                raise failure
            pause = min(self.longest_pause, self.first_pause * 2 ** (tried - 1))
            await trio.sleep(max(advice, pause * self.jitter(1.0, 1.25)))
        raise AssertionError("at least one attempt")


def new_connections(*, http2: bool = False) -> httpx.AsyncClient:
    """A client for a store's API. An answer of 429 or 5xx raises StoreUnavailable.

    `http2` for an API that speaks nothing older: then from the first byte, with TLS or without.
    For a thread: importing httpx and reading the certificates take their time.
    """
    import httpx

    async def refuse_trouble(response: httpx.Response) -> None:
        # Before a library reads the answer: it would not tell of Retry-After.
        if response.status_code == 429 or response.status_code >= 500:
            raise unavailable(response.headers)

    return httpx.AsyncClient(
        http1=not http2,
        http2=http2,
        verify=True if http2 else trusted(),
        # Waiting is bounded by the policy's scopes; these limits are per step, as a net.
        timeout=httpx.Timeout(10.0, connect=5.0),
        limits=httpx.Limits(max_connections=20, max_keepalive_connections=10),
        event_hooks={"response": [refuse_trouble]},
    )


def unavailable(headers: Mapping[str, str]) -> StoreUnavailable:
    """The failure for an answer of 429 or 5xx, with the store's advice where it gave one."""
    advice = headers.get("retry-after", "")
    if advice.isdecimal() and len(advice) < 8:
        return StoreUnavailable(advice=min(LONGEST_ADVICE, max(1, int(advice))))
    return StoreUnavailable()
