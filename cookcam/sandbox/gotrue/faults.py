"""The errors of Supabase Auth: status, code and words, as clients match on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field

API_VERSION_HEADER = "x-supabase-api-version"
API_VERSION = "2024-01-01"


@define(slots=False, eq=False)
class AuthFault(Exception):
    """An answer that is an error. `extra` adds keys to the body."""

    status: int
    code: str
    message: str
    extra: Mapping[str, Any] = field(factory=dict[str, Any])

    def body(self, api_version: str | None) -> dict[str, Any]:
        """The body: `code` is the error code from version 2024-01-01 on, the status before."""
        if api_version is not None and api_version >= API_VERSION:
            return {"code": self.code, "message": self.message, **self.extra}
        return {
            "code": self.status,
            "error_code": self.code,
            "msg": self.message,
            **self.extra,
        }


def bad_json(why: str) -> AuthFault:
    return AuthFault(400, "bad_json", f"Could not parse request body as JSON: {why}")


def validation_failed(message: str, status: int = 400) -> AuthFault:
    return AuthFault(status, "validation_failed", message)


def invalid_credentials() -> AuthFault:
    return AuthFault(400, "invalid_credentials", "Invalid login credentials")


def user_banned(status: int = 400, message: str = "User is banned") -> AuthFault:
    return AuthFault(status, "user_banned", message)


def email_not_confirmed() -> AuthFault:
    return AuthFault(400, "email_not_confirmed", "Email not confirmed")


def user_already_exists() -> AuthFault:
    return AuthFault(422, "user_already_exists", "User already registered")


def email_exists() -> AuthFault:
    return AuthFault(
        422, "email_exists", "A user with this email address has already been registered"
    )


def weak_password(minimum: int) -> AuthFault:
    return AuthFault(
        422,
        "weak_password",
        f"Password should be at least {minimum} characters.",
        {"weak_password": {"reasons": ["length"]}},
    )


def same_password() -> AuthFault:
    return AuthFault(
        422, "same_password", "New password should be different from the old password."
    )


def otp_expired() -> AuthFault:
    return AuthFault(403, "otp_expired", "Email link is invalid or has expired")


def refresh_token_not_found() -> AuthFault:
    return AuthFault(
        400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found"
    )


def refresh_token_already_used() -> AuthFault:
    return AuthFault(400, "refresh_token_already_used", "Invalid Refresh Token: Already Used")


def no_authorization() -> AuthFault:
    return AuthFault(401, "no_authorization", "This endpoint requires a valid Bearer token")


def bad_jwt(why: str) -> AuthFault:
    return AuthFault(403, "bad_jwt", f"invalid JWT: unable to parse or verify signature, {why}")


def session_not_found() -> AuthFault:
    return AuthFault(
        403, "session_not_found", "Session from session_id claim in JWT does not exist"
    )


def user_of_token_not_found() -> AuthFault:
    return AuthFault(403, "user_not_found", "User from sub claim in JWT does not exist")


def user_not_found() -> AuthFault:
    return AuthFault(404, "user_not_found", "User not found")


def not_admin() -> AuthFault:
    return AuthFault(403, "not_admin", "User not allowed")


def unexpected_failure() -> AuthFault:
    return AuthFault(
        500,
        "unexpected_failure",
        "Unexpected failure, please check server logs for more information",
    )


def staged(status: int) -> AuthFault:
    """The error a staged failure of `status` gives."""
    if status == 429:
        return AuthFault(429, "over_request_rate_limit", "Request rate limit reached")
    if status == 504:
        return AuthFault(504, "request_timeout", "Processing this request timed out")
    fault = unexpected_failure()
    return AuthFault(status, fault.code, fault.message)
