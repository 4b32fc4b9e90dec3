"""Stripe's connected accounts, transfers and payouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from attrs import field, frozen

from cookcam.integrations.stripe.reading import (
    Object,
    id_of,
    integer,
    integer_or_zero,
    metadata_of,
    part,
    read,
    text,
    text_or_none,
    time,
)


@frozen
class Account:
    """A connected account. `transfers_active`: it can receive transfers.

    `requirements_due` are the names of the details that its owner still has to provide.
    """

    id: str
    details_submitted: bool
    charges_enabled: bool
    payouts_enabled: bool
    transfers_active: bool
    requirements_due: Sequence[str]
    disabled_reason: str | None
    country: str | None
    currency: str | None
    metadata: Mapping[str, str]

    @classmethod
    def of(cls, document: Object) -> Account:
        return read(lambda: _account(document))


@frozen
class AccountLink:
    """A single-use page of Stripe."""

    url: str = field(repr=False)
    expires_at: datetime

    @classmethod
    def of(cls, document: Object) -> AccountLink:
        return read(lambda: cls(text(document["url"]), time(document["expires_at"])))


@frozen
class Transfer:
    """A transfer to a connected account; `reversed` is true when it is fully reversed."""

    id: str
    amount_cents: int
    amount_reversed_cents: int
    reversed: bool
    currency: str
    account_id: str | None
    metadata: Mapping[str, str]
    created: datetime

    @classmethod
    def of(cls, document: Object) -> Transfer:
        return read(
            lambda: cls(
                id=text(document["id"]),
                amount_cents=integer(document["amount"]),
                amount_reversed_cents=integer_or_zero(document.get("amount_reversed")),
                reversed=document.get("reversed") is True,
                currency=text(document["currency"]),
                account_id=id_of(document.get("destination")),
                metadata=metadata_of(document),
                created=time(document["created"]),
            )
        )


@frozen
class Payout:
    """A payout of a connected account to its bank; the account is `Event.account`.

    `status` is pending, in_transit, paid, failed or canceled.
    """

    id: str
    status: str
    amount_cents: int
    currency: str
    failure_message: str | None
    created: datetime
    arrival_date: datetime

    @classmethod
    def of(cls, document: Object) -> Payout:
        return read(
            lambda: cls(
                id=text(document["id"]),
                status=text(document["status"]),
                amount_cents=integer(document["amount"]),
                currency=text(document["currency"]),
                failure_message=text_or_none(document.get("failure_message")),
                created=time(document["created"]),
                arrival_date=time(document["arrival_date"]),
            )
        )


def _account(document: Object) -> Account:
    requirements = part(document, "requirements")
    due = {
        text(name)
        for list_ in ("currently_due", "past_due")
        for name in requirements.get(list_) or ()
    }
    return Account(
        id=text(document["id"]),
        details_submitted=bool(document.get("details_submitted")),
        charges_enabled=bool(document.get("charges_enabled")),
        payouts_enabled=bool(document.get("payouts_enabled")),
        transfers_active=part(document, "capabilities").get("transfers") == "active",
        requirements_due=sorted(due),
        disabled_reason=text_or_none(requirements.get("disabled_reason")),
        country=text_or_none(document.get("country")),
        currency=text_or_none(document.get("default_currency")),
        metadata=metadata_of(document),
    )
