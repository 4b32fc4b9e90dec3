"""Translates OpenAI's errors to errors of this program.

Only OpenAI's status and code are kept: its messages may quote the prompt or the key.
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
"""How one request to OpenAI ended, a label of the metrics; "broken" is a fault of ours."""


class ModelOutOfTime(DeadlineExceeded):
    """The answer was not there when the caller's seconds had passed."""

    default_message: ClassVar[str] = "The answer took too long, please try again"


@define(slots=False, eq=False)
class UnusableReply(ServiceError):
    """The model answered, and twice the answer could not be used.

    `reason`: "invalid" (not JSON, not of the shape, or rejected by a check), "truncated" (longer
    than max_tokens), "refused" (the model declined) or "filtered" (stopped by OpenAI's filter).
    """

    reason: Reason = field(default="invalid", kw_only=True)


@define(slots=False, eq=False)
class AttemptFailed(Exception):
    """One request failed with `error`; `wait` is OpenAI's Retry-After in seconds."""

    error: AppError
    outcome: Outcome
    repeatable: bool
    wait: float = 0.0

    @property
    def at_once(self) -> bool:
        """True when a retry need not wait: the service works, only its response was unusable."""
        return isinstance(self.error, UnusableReply)


def unusable(reason: Reason) -> AttemptFailed:
    return AttemptFailed(UnusableReply(reason=reason), reason, repeatable=True)


def unavailable(wait: float = 0.0) -> AttemptFailed:
    return AttemptFailed(ServiceUnavailable(), "unavailable", repeatable=True, wait=wait)


def failure_of(error: Exception) -> AttemptFailed:
    """What an exception of the openai library, or of the HTTP client below it, means."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return _refusal(error.status_code, error.response.headers, error.code)
    if isinstance(error, (openai.APIResponseValidationError, ValueError)):
        return unusable("invalid")
    # A connection that failed or broke, or an error event in the middle of a stream.
    return unavailable()


def _refusal(status: int, headers: Mapping[str, str], code: str | None) -> AttemptFailed:
    wait = seconds_to_wait(headers)
    if status == 429:
        error = RateLimited(retry_after=max(1, ceil(wait)))
        # A used-up budget is also a 429, and no pause of ours brings it back.
        return AttemptFailed(error, "rate_limited", code != "insufficient_quota", wait)
    if status >= 500:
        return unavailable(wait)
    if status == 401:
        return AttemptFailed(ServiceAuthError(), "unauthorized", repeatable=False)
    return AttemptFailed(ServiceError(), "rejected", repeatable=False)
