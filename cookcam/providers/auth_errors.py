"""The failures of Supabase Auth, as errors of this program.

What the provider says is logged as its status and code and goes no further: its words differ by
version, name internals, and tell which addresses have accounts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from cookcam.errors import (
    AppError,
    Conflict,
    RateLimited,
    ServiceAuthError,
    ServiceError,
    ServiceUnavailable,
    ValidationError,
)
from cookcam.providers.retry import OutOfTime

if TYPE_CHECKING:
    import httpx
    from supabase_auth.errors import AuthError

_KEY_REFUSED = ("api key", "invalid authentication credentials")
"""How the gateway in front of the provider says that our key, not a user's token, is wrong."""


class AccountExists(Conflict):
    """An account with that e-mail address is there already."""


class PasswordRefused(ValidationError):
    """The provider's own rules find the password too weak."""


class Refused(ServiceError):
    """The provider understood and said no; `status` and `code` below say to what.

    Each operation of the client turns this into the error it means there; where none does, an
    answer nobody expected is a failure of the service.
    """

    def __init__(self, provider_status: int, provider_code: str | None) -> None:
        super().__init__()
        self.provider_status = provider_status
        self.provider_code = provider_code


def app_error_from(error: AuthError) -> AppError:
    """The error for an exception of the supabase library."""
    from supabase_auth.errors import AuthRetryableError, AuthWeakPasswordError

    status = provider_status(error)
    if status == 504:
        return OutOfTime()
    if isinstance(error, AuthRetryableError) or status == 0 or status >= 500:
        return ServiceUnavailable()
    if status == 429:
        return RateLimited(retry_after=_retry_after(error))
    if status in (401, 403) and any(words in str(error).lower() for words in _KEY_REFUSED):
        return ServiceAuthError()
    if isinstance(error, AuthWeakPasswordError):
        return PasswordRefused("Please choose a stronger password")
    return Refused(status, error.code)


def failure_of(answer: httpx.Response) -> AppError | None:
    """The error for an answer to a request of our own; None for a good one."""
    status = answer.status_code
    if status < 400:
        return None
    if status == 504:
        return OutOfTime()
    if status >= 500:
        return ServiceUnavailable()
    if status == 429:
        return RateLimited(retry_after=_seconds(answer.headers.get("retry-after", "")))
    if status in (401, 403) and any(words in answer.text.lower() for words in _KEY_REFUSED):
        return ServiceAuthError()
    try:
        body: object = answer.json()
    except ValueError:
        body = None
    told = cast("dict[str, object]", body) if isinstance(body, dict) else {}
    code = told.get("error_code") or told.get("code")
    return Refused(status, code if isinstance(code, str) else None)


def provider_status(error: AuthError) -> int:
    """The HTTP status behind an exception of the library; 0 when there was no answer."""
    status: object = getattr(error, "status", None)
    if not isinstance(status, int):
        status = getattr(getattr(error.__cause__, "response", None), "status_code", None)
    return status if isinstance(status, int) else 0


def _retry_after(error: AuthError) -> int:
    headers = getattr(getattr(error.__cause__, "response", None), "headers", {})
    return _seconds(str(headers.get("retry-after", "")))


def _seconds(retry_after: str) -> int:
    return max(1, int(retry_after)) if retry_after.isdigit() and len(retry_after) < 6 else 60
