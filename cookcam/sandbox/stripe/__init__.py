"""A fake Stripe with its API, its events, and a clock that can be advanced.

    async with open_stripe(endpoints=[Endpoint(url, [secret])]) as stripe:
        client = StripeClient(stripe.key, base_addresses={"api": stripe.url}, ...)
        stripe.pay(session.id)
        stripe.advance(31 * DAY)

`python -m cookcam.sandbox.stripe` runs it in a separate process. Source of the protocol: Stripe's
API reference, version 2025-05-28.basil, and its pages on webhooks, billing and Connect.
"""

from cookcam.sandbox.stripe.behaviour import DAY, Behaviour, Card, DeliverySettings, Fault
from cookcam.sandbox.stripe.faults import ApiFault
from cookcam.sandbox.stripe.outbox import Attempt, Endpoint, signature
from cookcam.sandbox.stripe.server import (
    CONNECT_WEBHOOK_SECRET,
    KEY,
    WEBHOOK_SECRET,
    FakeStripe,
    open_stripe,
)

__all__ = [
    "CONNECT_WEBHOOK_SECRET",
    "DAY",
    "KEY",
    "WEBHOOK_SECRET",
    "ApiFault",
    "Attempt",
    "Behaviour",
    "Card",
    "DeliverySettings",
    "Endpoint",
    "FakeStripe",
    "Fault",
    "open_stripe",
    "signature",
]
