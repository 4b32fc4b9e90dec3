"""The program's Stripe client.

Writes take an idempotency key from the caller; without one, a new key is used for the attempts of
one call.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio
from attrs import define

from cookcam.config.readers import Secret
from cookcam.integrations.circuit_breaker import CircuitBreaker
from cookcam.integrations.retry import RetryPolicy
from cookcam.integrations.stripe.checkout import Checkout
from cookcam.integrations.stripe.connect import Connect
from cookcam.integrations.stripe.events import Event
from cookcam.integrations.stripe.payments import Payments
from cookcam.integrations.stripe.reading import Page
from cookcam.integrations.stripe.requests import MAX_PAGE, Library, parse_page, without_none
from cookcam.integrations.stripe.subscriptions import Subscriptions

INTERACTIVE_RETRIES = RetryPolicy(deadline=10.0, attempts=3, initial_delay=0.25, max_delay=2.0)
"""Two calls in a row stay below the 25 s limit of a request."""


@define(eq=False)
class Stripe(Checkout, Subscriptions, Payments, Connect):
    """Stripe's API; open it with `Stripe.open`.

    Besides the errors in its docstring, every operation raises StripeUnavailable (503, with
    Retry-After) when Stripe does not respond, or responds with 5xx or 429, after all attempts;
    ServiceTimeout (503) when the policy's deadline passes; ServiceAuthError (500) when Stripe
    rejects our key; NoSuchObject for an unknown id; KeyReused for an idempotency key that was used
    for a different request; StripeRejected for any other rejection; and MalformedObject (502) for a
    response of another shape. Cancelling the caller closes the request at once.
    """

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        secret_key: Secret,
        api_base: str,
        policy: RetryPolicy = INTERACTIVE_RETRIES,
        breaker: CircuitBreaker | None = None,
    ) -> AsyncGenerator[Stripe]:
        """Opens a client; its connections are closed with the block.

        `api_base` has no version: `https://api.stripe.com`. The deadline of `policy` is for all
        requests of an operation together; its attempts are for each request.
        """
        library = Library(secret_key, api_base, breaker or CircuitBreaker())
        try:
            yield cls(library, policy)
        finally:
            with trio.move_on_after(1, shield=True):
                await library.close()

    def with_policy(self, policy: RetryPolicy) -> Stripe:
        """Returns a client with the same connections and another policy."""
        return Stripe(self._library, policy)

    async def warm_up(self) -> None:
        """Imports Stripe's library before the first call."""
        await self._library.client()

    async def retrieve_event(self, event_id: str) -> Event:
        """Reads an event of the last 30 days."""
        response = await self._call("events.retrieve", event_id, None)
        return Event.of(response.document)

    async def list_undelivered_events(
        self, *, starting_after: str | None = None, limit: int = MAX_PAGE
    ) -> Page[Event]:
        """A page of the events of the last 30 days that not every endpoint has acknowledged, newest
        first."""
        params = without_none(delivery_success=False, starting_after=starting_after, limit=limit)
        response = await self._call("events.list", params)
        return parse_page(response, Event.of)
