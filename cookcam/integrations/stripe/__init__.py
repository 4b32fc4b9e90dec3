"""Stripe through its library: customers, checkout, subscriptions, tips, connected accounts.

| module                                      | idea                                     |
|---------------------------------------------|------------------------------------------|
| client                                      | `Stripe`: all that is asked of it        |
| customers, subscriptions, payments, connect | its parts, by what they are about        |
| asking, library                             | one request: repeats, deadlines          |
| billing, charges, accounts                  | what Stripe tells, as frozen classes     |
| reading                                     | how such a class reads itself            |
| events                                      | who signed an event, and what it says    |
| errors                                      | Stripe's failures as errors of ours      |
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
