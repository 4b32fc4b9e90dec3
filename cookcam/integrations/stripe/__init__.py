"""Stripe through its library: customers, checkout, subscriptions, tips, connected accounts.

| module                                     | contents                               |
|--------------------------------------------|----------------------------------------|
| client                                     | `Stripe`: all operations               |
| checkout, subscriptions, payments, connect | its parts, by topic                    |
| requests                                   | one request: retries, deadlines, lists |
| billing, charges, accounts                 | Stripe's objects as frozen classes     |
| reading                                    | helpers that parse Stripe's objects    |
| events                                     | webhook signatures and events          |
| errors                                     | translation of Stripe's errors to ours |
"""

from cookcam.integrations.stripe.client import Stripe
from cookcam.integrations.stripe.errors import (
    CardDeclined,
    KeyReused,
    NoSuchObject,
    StripeRejected,
    StripeUnavailable,
)

__all__ = [
    "CardDeclined",
    "KeyReused",
    "NoSuchObject",
    "Stripe",
    "StripeRejected",
    "StripeUnavailable",
]
