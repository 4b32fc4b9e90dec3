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
from cookcam.integrations.retry import RetryPolicy
from cookcam.integrations.stripe.asking import PAGE, given, page
from cookcam.integrations.stripe.connect import Connect
from cookcam.integrations.stripe.customers import Customers
from cookcam.integrations.stripe.events import Event
from cookcam.integrations.stripe.library import Library
from cookcam.integrations.stripe.payments import Payments
from cookcam.integrations.stripe.reading import Page
from cookcam.integrations.stripe.subscriptions import Subscriptions

INTERACTIVE_RETRIES = RetryPolicy(deadline=10.0, attempts=3, initial_delay=0.25, max_delay=2.0)
"""Two calls in a row stay below the 25 s of an answer."""


@define(eq=False)
class Stripe(Customers, Subscriptions, Payments, Connect):
    """Payments; open it with `Stripe.open`.

    Every operation raises StripeUnavailable (503, with Retry-After) when Stripe does not respond,
    or responds with 5xx or 429, after all attempts; ServiceTimeout (503) when the policy's deadline
    passes; ServiceAuthError (500) when it rejects our key; NoSuchObject for an unknown id;
    KeyReused for an idempotency key that meant something else; StripeRefused for any other refusal
    and MalformedObject for an answer that cannot be understood (502); besides what its docstring
    says. Cancelling the caller closes the request at once.
    """

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        secret_key: Secret,
        api_base: str,
        policy: RetryPolicy = INTERACTIVE_RETRIES,
    ) -> AsyncGenerator[Stripe]:
        """A client; its connections close with the block.

        `api_base` has no version: `https://api.stripe.com`. `policy` bounds each operation, all of
        its requests together, and repeats each request.
        """
        library = Library(secret_key, api_base)
        try:
            yield cls(library, policy)
        finally:
            with trio.move_on_after(1, shield=True):
                await library.close()

    def patient(self, policy: RetryPolicy) -> Stripe:
        """The same client with the same connections under another policy.

        For background work such as reconciliation.
        """
        return Stripe(self._library, policy)

    async def warm_up(self) -> None:
        """Imports the library ahead of the first call."""
        await self._library.client()

    async def retrieve_event(self, event_id: str) -> Event:
        """An event of the last 30 days."""
        answer = await self._ask(
            lambda client, options: client.v1.events.retrieve_async(event_id, None, options)
        )
        return Event.of(answer.document)

    async def list_undelivered_events(
        self, *, starting_after: str | None = None, limit: int = PAGE
    ) -> Page[Event]:
        """A page of the events of the last 30 days that not all endpoints have acknowledged, the
        newest first."""
        params = given(delivery_success=False, starting_after=starting_after, limit=limit)
        answer = await self._ask(
            lambda client, options: client.v1.events.list_async(params, options)
        )
        return page(answer, Event.of)
