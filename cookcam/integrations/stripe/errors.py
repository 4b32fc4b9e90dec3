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

MAX_RETRY_AFTER = 2
"""Default Retry-After in seconds, when Stripe sends none."""


@define(slots=False, eq=False)
class StripeUnavailable(ServiceUnavailable):
    """Stripe does not answer, answers 5xx, or has had enough requests from us.

    After a change it may have been made: what is asked again has to have the same idempotency key.
    `retry_after` is in whole seconds.
    """

    retry_after: int = field(default=MAX_RETRY_AFTER, kw_only=True)

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [("Retry-After", str(self.retry_after))]


@define(slots=False, eq=False)
class CardDeclined(PaymentError):
    """The payer's bank, or Stripe, refused the payment; `decline_code` is the reason, if known."""

    default_message: ClassVar[str] = "The card was declined"

    decline_code: str | None = field(default=None, kw_only=True)


@define(slots=False, eq=False)
class StripeRejected(ServiceError):
    """Stripe rejected the request. `stripe_code` and `param` have the reason, if sent.

    Where an operation can mean something else by a refusal, its docstring says so; where it does
    not, the request was wrong, and that is a fault of ours.
    """

    stripe_status: int = field(default=400, kw_only=True)
    stripe_code: str | None = field(default=None, kw_only=True)
    param: str | None = field(default=None, kw_only=True)


class NoSuchObject(StripeRejected):
    """There is no such object, or it is not ours to see."""


class KeyReused(StripeRejected):
    """The idempotency key was used before, for a request that said something else."""


@define(slots=False, eq=False)
class AttemptFailed(Exception):
    """One request failed with `error`; `wait` is how many seconds Stripe asks to stay away."""

    error: AppError
    repeatable: bool
    wait: float = 0.0


def failure_of(error: StripeError) -> AttemptFailed:
    """What an exception of the stripe library means."""
    import stripe

    status, headers = error.http_status or 0, error.headers or {}
    wait = seconds_to_wait(headers)
    advice = headers.get("stripe-should-retry")
    if isinstance(error, stripe.APIConnectionError):
        return AttemptFailed(StripeUnavailable(), repeatable=True)
    if isinstance(error, stripe.RateLimitError):
        unavailable = StripeUnavailable(retry_after=max(MAX_RETRY_AFTER, ceil(wait)))
        return AttemptFailed(unavailable, advice != "false", wait)
    if status == 409 or status >= 500 or status < 400:
        # 409: another request with our key is being worked on. Below 400: an answer in pieces.
        # Stripe stores a 500 under the idempotency key and would return it again.
        unavailable = StripeUnavailable(retry_after=max(MAX_RETRY_AFTER, ceil(wait)))
        return AttemptFailed(unavailable, advice != "false", wait)
    return AttemptFailed(_refusal(error, status), repeatable=False)


def _refusal(error: StripeError, status: int) -> AppError:
    import stripe

    # Some exceptions of the library do not carry the code themselves.
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
