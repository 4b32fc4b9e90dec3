"""The errors of Supabase Auth: status, code and message, as clients match on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field

API_VERSION_HEADER = "x-supabase-api-version"
API_VERSION = "2024-01-01"


@define(slots=False, eq=False)
class AuthFault(Exception):
    """An error response. `extra` adds keys to the body."""

    status: int
    code: str
    message: str
    extra: Mapping[str, Any] = field(factory=dict[str, Any])

    def body(self, api_version: str | None) -> dict[str, Any]:
        """The body: `code` is the error code from version 2024-01-01 on, the status before."""
        if api_version is not None and api_version >= API_VERSION:
            return {"code": self.code, "message": self.message, **self.extra}
        msg = {"error_code": self.code, "msg": self.message}
        return {"code": self.status, **msg, **self.extra}


_ERRORS = {
    "invalid_credentials": (400, "Invalid login credentials"),
    "email_not_confirmed": (400, "Email not confirmed"),
    "user_already_exists": (422, "User already registered"),
    "email_exists": (422, "A user with this email address has already been registered"),
    "same_password": (422, "New password should be different from the old password."),
    "otp_expired": (403, "Email link is invalid or has expired"),
    "refresh_token_not_found": (400, "Invalid Refresh Token: Refresh Token Not Found"),
    "refresh_token_already_used": (400, "Invalid Refresh Token: Already Used"),
    "no_authorization": (401, "This endpoint requires a valid Bearer token"),
    "session_not_found": (403, "Session from session_id claim in JWT does not exist"),
    "user_not_found": (404, "User not found"),
    "not_admin": (403, "User not allowed"),
}


def error(code: str) -> AuthFault:
    """The error of that code, for the codes with one status and message."""
    status, message = _ERRORS[code]
    return AuthFault(status, code, message)


def bad_json(why: str) -> AuthFault:
    return AuthFault(400, "bad_json", f"Could not parse request body as JSON: {why}")


def bad_jwt(why: str) -> AuthFault:
    return AuthFault(403, "bad_jwt", f"invalid JWT: unable to parse or verify signature, {why}")


def validation_failed(message: str, status: int = 400) -> AuthFault:
    return AuthFault(status, "validation_failed", message)


def user_banned(status: int = 400, message: str = "User is banned") -> AuthFault:
    return AuthFault(status, "user_banned", message)


def unexpected_failure(status: int = 500) -> AuthFault:
    message = "Unexpected failure, please check server logs for more information"
    return AuthFault(status, "unexpected_failure", message)


def staged(status: int) -> AuthFault:
    """The error that a staged failure of `status` gives."""
    if status == 429:
        return AuthFault(429, "over_request_rate_limit", "Request rate limit reached")
    if status == 504:
        return AuthFault(504, "request_timeout", "Processing this request timed out")
    return unexpected_failure(status)
