"""A Stripe client of the fake Stripe, and frequent operations."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from cookcam.config.readers import Secret
from cookcam.integrations.retry import RetryPolicy
from cookcam.integrations.stripe import Stripe
from cookcam.integrations.stripe.billing import CheckoutSession, Subscription
from cookcam.sandbox.stripe import FakeStripe

ANN = UUID("00000000-0000-4000-8000-00000000a001")

IMMEDIATE_RETRIES = RetryPolicy(deadline=5.0, attempts=3, initial_delay=0.0)


@asynccontextmanager
async def open_client(fake: FakeStripe, **changes: Any) -> AsyncGenerator[Stripe]:
    """Opens a client with its library imported, since a virtual clock does not wait for threads."""
    settings: dict[str, Any] = {
        "secret_key": Secret(fake.key),
        "api_base": fake.url,
        "policy": IMMEDIATE_RETRIES,
    }
    async with Stripe.open(**settings | changes) as client:
        await client.warm_up()
        yield client


async def checkout(client: Stripe, key: str = "checkout", **changes: Any) -> CheckoutSession:
    params: dict[str, Any] = {
        "user_id": ANN,
        "tier_id": 2,
        "tier_name": "Regular",
        "amount_cents": 399,
        "interval": "month",
        "success_url": "https://cookcam.ai/thanks?session={CHECKOUT_SESSION_ID}",
        "cancel_url": "https://cookcam.ai/plans",
        "idempotency_key": key,
    }
    return await client.create_checkout_session(**params | changes)


async def subscribed(client: Stripe, fake: FakeStripe, **changes: Any) -> Subscription:
    """A new, paid subscription."""
    session = await checkout(client, **changes)
    paid = CheckoutSession.of(fake.pay(session.id))
    assert paid.subscription_id is not None
    return await client.retrieve_subscription(paid.subscription_id)
