"""Maps OpenAI's errors to AppErrors.

Only the status and the code are used: OpenAI's messages may quote the prompt or the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import ClassVar, Literal, TypeAlias

from attrs import define, field

from cookcam.errors import (
    AppError,
    DeadlineExceeded,
    RateLimited,
    ServiceAuthError,
    ServiceError,
    ServiceUnavailable,
)
from cookcam.integrations.retry_after import seconds_to_wait

Reason: TypeAlias = Literal["invalid", "truncated", "refused", "filtered"]
Outcome: TypeAlias = Literal[
    "ok",
    "invalid",
    "truncated",
    "refused",
    "filtered",
    "rate_limited",
    "unavailable",
    "unauthorized",
    "rejected",
    "timed_out",
    "cancelled",
    "broken",
]
"""Outcome of one request, a label in the metrics; "broken" is an unexpected exception here."""


class ModelTimeout(DeadlineExceeded):
    """The completion did not arrive within the caller's `seconds`."""

    default_message: ClassVar[str] = "The answer took too long, please try again"


@define(slots=False, eq=False)
class UnusableCompletion(ServiceError):
    """Two completions in a row were unusable.

    `reason`: "invalid" (not JSON, wrong shape, or rejected by a check), "truncated" (longer than
    max_tokens), "refused" (the model declined) or "filtered" (stopped by OpenAI's content filter).
    """

    reason: Reason = field(default="invalid", kw_only=True)


@define(slots=False, eq=False)
class AttemptFailed(Exception):
    """One request failed with `error`; `retry_after` is in seconds."""

    error: AppError
    outcome: Outcome
    retryable: bool
    retry_after: float = 0.0

    @property
    def retry_immediately(self) -> bool:
        """True for an unusable completion: the service works, so the retry needs no delay."""
        return isinstance(self.error, UnusableCompletion)


def unusable(reason: Reason) -> AttemptFailed:
    return AttemptFailed(UnusableCompletion(reason=reason), reason, retryable=True)


def unavailable(retry_after: float = 0.0) -> AttemptFailed:
    return AttemptFailed(
        ServiceUnavailable(), "unavailable", retryable=True, retry_after=retry_after
    )


def attempt_failure(error: Exception) -> AttemptFailed:
    """Map an exception of the openai library, or of its HTTP client, to AttemptFailed."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return _status_failure(error.status_code, error.response.headers, error.code)
    if isinstance(error, (openai.APIResponseValidationError, ValueError)):
        return unusable("invalid")
    # A connection that failed or broke, or an error event in the middle of a stream.
    return unavailable()


def _status_failure(status: int, headers: Mapping[str, str], code: str | None) -> AttemptFailed:
    wait = seconds_to_wait(headers)
    if status == 429:
        error = RateLimited(retry_after=max(1, ceil(wait)))
        # An exhausted budget is also a 429; a retry cannot succeed.
        return AttemptFailed(error, "rate_limited", code != "insufficient_quota", wait)
    if status >= 500:
        return unavailable(wait)
    if status == 401:
        return AttemptFailed(ServiceAuthError(), "unauthorized", retryable=False)
    return AttemptFailed(ServiceError(), "rejected", retryable=False)
