"""Translates the errors of Supabase Auth to errors of this program.

Only the provider's status and code are logged. Its messages are not passed on: they differ by
version, name internals, and reveal which addresses have accounts.
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
from cookcam.integrations.retry import ServiceTimeout

if TYPE_CHECKING:
    import httpx
    from supabase_auth.errors import AuthError

_KEY_REJECTED = ("api key", "invalid authentication credentials")
"""Messages of the provider's gateway for a wrong API key, as opposed to a wrong user token."""


class AccountExists(Conflict):
    """An account with that e-mail address exists already."""


class PasswordRejected(ValidationError):
    """The password is too weak by the provider's rules."""


class AuthRejected(ServiceError):
    """The provider rejected the request; `provider_status` and `provider_code` have the reason.

    Each operation of the client translates the statuses it expects. An unexpected one is a
    failure of the service.
    """

    def __init__(self, provider_status: int, provider_code: str | None) -> None:
        super().__init__()
        self.provider_status = provider_status
        self.provider_code = provider_code


def app_error_from(error: AuthError) -> AppError:
    """Translate an exception of the supabase library."""
    from supabase_auth.errors import AuthRetryableError, AuthWeakPasswordError

    status = provider_status(error)
    if status == 504:
        return ServiceTimeout()
    if isinstance(error, AuthRetryableError) or status == 0 or status >= 500:
        return ServiceUnavailable()
    if status == 429:
        return RateLimited(retry_after=_retry_after(error))
    if status in (401, 403) and any(message in str(error).lower() for message in _KEY_REJECTED):
        return ServiceAuthError()
    if isinstance(error, AuthWeakPasswordError):
        return PasswordRejected("Please choose a stronger password")
    return AuthRejected(status, error.code)


def error_from_response(response: httpx.Response) -> AppError | None:
    """Return the error for a response to a direct request; None for a status below 400."""
    status = response.status_code
    if status < 400:
        return None
    if status == 504:
        return ServiceTimeout()
    if status >= 500:
        return ServiceUnavailable()
    if status == 429:
        return RateLimited(retry_after=_seconds(response.headers.get("retry-after", "")))
    if status in (401, 403) and any(text in response.text.lower() for text in _KEY_REJECTED):
        return ServiceAuthError()
    try:
        body: object = response.json()
    except ValueError:
        body = None
    fields = cast("dict[str, object]", body) if isinstance(body, dict) else {}
    code = fields.get("error_code") or fields.get("code")
    return AuthRejected(status, code if isinstance(code, str) else None)


def provider_status(error: AuthError) -> int:
    """Return the HTTP status behind an exception of the library; 0 without a response."""
    status: object = getattr(error, "status", None)
    if not isinstance(status, int):
        status = getattr(getattr(error.__cause__, "response", None), "status_code", None)
    return status if isinstance(status, int) else 0


def _retry_after(error: AuthError) -> int:
    headers = getattr(getattr(error.__cause__, "response", None), "headers", {})
    return _seconds(str(headers.get("retry-after", "")))


def _seconds(retry_after: str) -> int:
    return max(1, int(retry_after)) if retry_after.isdigit() and len(retry_after) < 6 else 60
