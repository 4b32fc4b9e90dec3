"""Stripe's connected accounts, transfers and payouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from attrs import frozen

from cookcam.integrations.stripe.reading import (
    StripeObject,
    id_of,
    integer,
    integer_or_zero,
    is_true,
    nested,
    parsed,
    string_map,
    text,
    text_or_none,
    time,
)


def _requirements_due(requirements: object) -> Sequence[str]:
    lists = (nested(requirements).get(name) or () for name in ("currently_due", "past_due"))
    return sorted({text(name) for names in lists for name in names})


def _transfers_active(capabilities: object) -> bool:
    return nested(capabilities).get("transfers") == "active"


@frozen
class Account(StripeObject):
    """A connected account. `transfers_active`: it can receive transfers.

    `requirements_due` are the names of the details that its owner still has to provide.
    """

    id: str = parsed(text)
    details_submitted: bool = parsed(bool)
    charges_enabled: bool = parsed(bool)
    payouts_enabled: bool = parsed(bool)
    transfers_active: bool = parsed(_transfers_active, "capabilities")
    requirements_due: Sequence[str] = parsed(_requirements_due, "requirements")
    country: str | None = parsed(text_or_none)
    currency: str | None = parsed(text_or_none, "default_currency")
    metadata: Mapping[str, str] = parsed(string_map)


@frozen
class AccountLink(StripeObject):
    """A single-use page of Stripe."""

    url: str = parsed(text, repr=False)
    expires_at: datetime = parsed(time)


@frozen
class Transfer(StripeObject):
    """A transfer to a connected account; `reversed` is true when it is fully reversed."""

    id: str = parsed(text)
    amount_cents: int = parsed(integer, "amount")
    amount_reversed_cents: int = parsed(integer_or_zero, "amount_reversed")
    reversed: bool = parsed(is_true)
    currency: str = parsed(text)
    account_id: str | None = parsed(id_of, "destination")
    metadata: Mapping[str, str] = parsed(string_map)
    created: datetime = parsed(time)


@frozen
class Payout(StripeObject):
    """A payout of a connected account to its bank; the account is `Event.account`.

    `status` is pending, in_transit, paid, failed or canceled.
    """

    id: str = parsed(text)
    status: str = parsed(text)
    amount_cents: int = parsed(integer, "amount")
    currency: str = parsed(text)
    failure_message: str | None = parsed(text_or_none)
    created: datetime = parsed(time)
