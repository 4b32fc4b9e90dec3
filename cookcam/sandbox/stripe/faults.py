"""The errors of Stripe's API: status, type, code and message, as its library matches on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field


@define(slots=False, eq=False)
class ApiFault(Exception):
    """An error response. `headers` go with it."""

    status: int
    type: str
    message: str
    code: str | None = None
    param: str | None = None
    decline_code: str | None = None
    headers: Mapping[str, str] = field(factory=dict[str, str])
    extra: Mapping[str, Any] = field(factory=dict[str, Any])

    @property
    def body(self) -> dict[str, Any]:
        fields = {
            "type": self.type,
            "message": self.message,
            "code": self.code,
            "param": self.param,
            "decline_code": self.decline_code,
            **self.extra,
        }
        return {"error": {name: value for name, value in fields.items() if value is not None}}


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiFault:
    return ApiFault(400, "invalid_request_error", message, code, param)


def missing(kind: str, object_id: str) -> ApiFault:
    message = kind.replace("_", " ").lstrip()
    return ApiFault(
        404, "invalid_request_error", f"No such {message}: '{object_id}'", "resource_missing", "id"
    )


def declined(card: str) -> ApiFault:
    """The decline of a card; see `cookcam.sandbox.stripe.behaviour.Card`."""
    if card == "insufficient_funds":
        message = "Your card has insufficient funds."
        return ApiFault(402, "card_error", message, "card_declined", None, "insufficient_funds")
    if card == "expired":
        message = "Your card has expired."
        return ApiFault(402, "card_error", message, "expired_card", "exp_month", "expired_card")
    message = "Your card was declined."
    return ApiFault(402, "card_error", message, "card_declined", None, "generic_decline")


def staged(status: int, retry_after: float | None) -> ApiFault:
    """The error that a staged fault of `status` gives."""
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    if status == 429:
        message = "Request rate limit exceeded."
        return ApiFault(429, "invalid_request_error", message, "rate_limit", headers=headers)
    return ApiFault(status, "api_error", "An unknown error occurred", headers=headers)
