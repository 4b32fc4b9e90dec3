"""Translates Stripe's errors to errors of this program.

Only Stripe's status and codes are kept: its messages may quote ids, cards or the key. Source:
Stripe's pages on errors, on advanced error handling and on idempotent requests.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, ClassVar

from attrs import define, field

from cookcam.errors import (
    AppError,
    PaymentError,
    ServiceAuthError,
    ServiceError,
    ServiceUnavailable,
)
from cookcam.integrations.retry_after import seconds_to_wait

if TYPE_CHECKING:
    from stripe import StripeError

DEFAULT_RETRY_AFTER = 2
"""Default Retry-After in seconds, when Stripe sends none."""


@define(slots=False, eq=False)
class StripeUnavailable(ServiceUnavailable):
    """Stripe did not respond, or responded with 5xx or 429.

    A write may have been executed: repeat it with the same idempotency key. `retry_after` is in
    whole seconds.
    """

    retry_after: int = field(default=DEFAULT_RETRY_AFTER, kw_only=True)

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [("Retry-After", str(self.retry_after))]


@define(slots=False, eq=False)
class CardDeclined(PaymentError):
    """The payer's bank, or Stripe, declined the payment; `decline_code` is the reason, if sent."""

    default_message: ClassVar[str] = "The card was declined"

    decline_code: str | None = field(default=None, kw_only=True)


@define(slots=False, eq=False)
class StripeRejected(ServiceError):
    """Stripe rejected the request. `stripe_code` and `param` have the reason, if sent.

    Unless the operation's docstring says otherwise, the request was wrong, which is our error.
    """

    stripe_status: int = field(default=400, kw_only=True)
    stripe_code: str | None = field(default=None, kw_only=True)
    param: str | None = field(default=None, kw_only=True)


class NoSuchObject(StripeRejected):
    """The object does not exist, or our key has no access to it."""


class KeyReused(StripeRejected):
    """The idempotency key was used before, for a different request."""


@define(slots=False, eq=False)
class AttemptFailed(Exception):
    """One request failed with `error`; `wait` is Stripe's Retry-After in seconds."""

    error: AppError
    repeatable: bool
    wait: float = 0.0


def failure_of(error: StripeError) -> AttemptFailed:
    """Translates an exception of the stripe library."""
    import stripe

    status, headers = error.http_status or 0, error.headers or {}
    wait = seconds_to_wait(headers)
    advice = headers.get("stripe-should-retry")
    if isinstance(error, stripe.APIConnectionError):
        return AttemptFailed(StripeUnavailable(), repeatable=True)
    if isinstance(error, stripe.RateLimitError):
        unavailable = StripeUnavailable(retry_after=max(DEFAULT_RETRY_AFTER, ceil(wait)))
        return AttemptFailed(unavailable, advice != "false", wait)
    if status == 409 or status >= 500 or status < 400:
        # 409: another request with our key is in progress. Below 400: an incomplete response.
        # Stripe stores a 500 under the idempotency key and would return it again.
        unavailable = StripeUnavailable(retry_after=max(DEFAULT_RETRY_AFTER, ceil(wait)))
        return AttemptFailed(unavailable, advice != "false", wait)
    return AttemptFailed(_rejection(error, status), repeatable=False)


def _rejection(error: StripeError, status: int) -> AppError:
    import stripe

    # Some exceptions of the library have the code only in `error.error`.
    code: str | None = error.code or getattr(error.error, "code", None)
    if isinstance(error, stripe.CardError):
        return CardDeclined(decline_code=getattr(error.error, "decline_code", None) or code)
    if status == 404 or code in ("resource_missing", "account_invalid"):
        kind = NoSuchObject
    elif isinstance(error, stripe.IdempotencyError):
        kind = KeyReused
    elif status in (401, 403):
        return ServiceAuthError()
    else:
        kind = StripeRejected
    return kind(stripe_status=status, stripe_code=code, param=getattr(error, "param", None))
