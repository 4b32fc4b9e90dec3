"""The errors a client may see, and the table from database codes to them.

An `AppError` has everything that a response needs: status, code and message. It is raised where
the fault is detected and converted in one place for each channel: `cookcam.http.errors` for HTTP,
`cookcam.realtime` for sockets. docs/errors.md lists the codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import define, field


@define(slots=False, eq=False)
class AppError(Exception):
    """A failure that a client may see.

    `message` is text for the user. `error` is the literal older clients match on, where
    a route has one; without it the `error` key of the response is the code. `details` adds keys
    under `details`; `extra` adds keys at the root (for instance the limits of a gate).
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "INTERNAL_ERROR"
    default_message: ClassVar[str] = "Internal server error"
    of_the_client: ClassVar[bool] = False
    """A mistake of the client, whatever the status: contracts name a 500 for some."""

    message: str = ""
    error: str | None = field(default=None, kw_only=True)
    details: Mapping[str, Any] | None = field(default=None, kw_only=True)
    extra: Mapping[str, Any] = field(factory=dict[str, Any], kw_only=True)

    def __attrs_post_init__(self) -> None:
        self.message = self.message or self.default_message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Response headers that belong to this failure."""
        return []


class ValidationError(AppError):
    """The request is well formed and its content is not acceptable."""

    status, code, default_message = 400, "VALIDATION_ERROR", "Invalid request"

    @classmethod
    def of(cls, field_name: str, rule: str) -> ValidationError:
        """A failure of one field, for instance `("title", "must have 3 to 200 characters")`."""
        return cls(f"{field_name} {rule}", details={"field": field_name, "rule": rule})


class InvalidJson(AppError):
    status, code, default_message = 400, "INVALID_JSON", "The request body is not valid JSON"


class BadRequest(AppError):
    status, code, default_message = 400, "BAD_REQUEST", "The request could not be understood"


class AuthenticationError(AppError):
    status, code, default_message = 401, "AUTHENTICATION_ERROR", "Authentication required"

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [("WWW-Authenticate", "Bearer")]


class TokenExpired(AuthenticationError):
    """The token is invalid, expired or revoked."""

    code, default_message = "TOKEN_EXPIRED", "Please refresh your session"


class InvalidCredentials(AuthenticationError):
    code, default_message = "INVALID_CREDENTIALS", "Invalid email or password"


class PaymentError(AppError):
    status, code, default_message = 402, "PAYMENT_ERROR", "The payment could not be completed"


class AuthorizationError(AppError):
    status, code, default_message = 403, "AUTHORIZATION_ERROR", "Access denied"


@define(slots=False, eq=False)
class AccessDenied(AuthorizationError):
    """The caller is on the operators' blocklist."""

    error: str | None = field(default="Access denied", kw_only=True)
    default_message: ClassVar[str] = "Your access to this service is blocked"


class InsufficientPermissions(AuthorizationError):
    code, default_message = "INSUFFICIENT_PERMISSIONS", "Insufficient permissions"


class EmailNotConfirmed(AuthorizationError):
    code, default_message = "EMAIL_NOT_CONFIRMED", "Please confirm your email address first"


class NotFound(AppError):
    status, code, default_message = 404, "NOT_FOUND", "Resource not found"


class Conflict(AppError):
    status, code, default_message = 409, "CONFLICT_ERROR", "The request conflicts with another"


class DuplicateEntry(Conflict):
    code, default_message = "DUPLICATE_ENTRY", "Resource already exists"


class TransactionConflict(Conflict):
    code, default_message = "TRANSACTION_CONFLICT", "Transaction conflict, please retry"


class PayloadTooLarge(AppError):
    status, code, default_message = 413, "PAYLOAD_TOO_LARGE", "The request body is too large"


class UnsupportedMediaType(AppError):
    status, code = 415, "UNSUPPORTED_MEDIA_TYPE"
    default_message = "The content type of the request is not supported"


class ForeignKeyError(AppError):
    status, code, default_message = 400, "FOREIGN_KEY_ERROR", "Referenced resource does not exist"


class InvalidInput(AppError):
    status, code, default_message = 400, "INVALID_INPUT", "Invalid input format"


class RequiredFieldMissing(AppError):
    status, code, default_message = 400, "REQUIRED_FIELD_MISSING", "Required field is missing"


class ConstraintViolation(AppError):
    status, code, default_message = 400, "CONSTRAINT_VIOLATION", "Value violates a constraint"


@define(slots=False, eq=False)
class RetryLater(AppError):
    """An error that says when to retry; `retry_after` is in whole seconds, rounded up."""

    retry_after: int = field(default=1, kw_only=True)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.extra = {**self.extra, "retryAfter": self.retry_after}

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [("Retry-After", str(self.retry_after))]


class RateLimited(RetryLater):
    """Too many requests."""

    status, code = 429, "RATE_LIMIT_ERROR"
    default_message = "Too many requests, please try again later"


class InternalError(AppError):
    """A fault of the server. The cause is logged; the client gets the default message."""


class DatabaseError(AppError):
    status, code, default_message = 500, "DATABASE_ERROR", "A database error occurred"


class NotOffered(AppError):
    """A route or an option of the contract that this server does not offer."""

    status, code, default_message = 501, "NOT_IMPLEMENTED", "This is not offered yet"


class ServiceAuthError(AppError):
    """A provider rejected the server's own credentials."""

    status, code = 500, "SERVICE_AUTH_ERROR"
    default_message = "An external service refused the server's credentials"


class ServiceError(AppError):
    """A provider sent an unusable response."""

    status, code, default_message = 502, "SERVICE_ERROR", "An external service failed"


class ServiceUnavailable(AppError):
    """A provider or the database did not respond; the client may retry later."""

    status, code = 503, "SERVICE_UNAVAILABLE"
    default_message = "Service temporarily unavailable, please try again"

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [("Retry-After", "2")]


class ServiceOverloaded(ServiceUnavailable):
    code, default_message = "SERVICE_OVERLOADED", "The service is busy, please try again"


class SwitchedOff(RetryLater, ServiceUnavailable):
    """An operator has switched off what the request needs (docs/operations.md, "Switches").

    Expected: neither logged nor reported as a failure.
    """


class MaintenanceMode(SwitchedOff):
    code, default_message = "MAINTENANCE", "CookCam is under maintenance, please try again later"


class ReadOnlyMode(SwitchedOff):
    """Also a write in a transaction or a database that is read-only (SQLSTATE 25006)."""

    code = "READ_ONLY"
    default_message = "Nothing can be changed at the moment, please try again later"


class DeadlineExceeded(AppError):
    status, code, default_message = 504, "DEADLINE_EXCEEDED", "The request took too long"


BY_DATABASE_CODE: Mapping[str, type[AppError]] = {
    "23505": DuplicateEntry,
    "23503": ForeignKeyError,
    "22P02": InvalidInput,
    "23502": RequiredFieldMissing,
    "23514": ConstraintViolation,
    "42501": InsufficientPermissions,
    # 42P01, a missing table, is our fault and not a missing resource: it stays DATABASE_ERROR.
    "40001": TransactionConflict,
    "40P01": TransactionConflict,
    "25006": ReadOnlyMode,  # read_only_sql_transaction
    "53300": ServiceOverloaded,
    "57P01": ServiceUnavailable,  # admin_shutdown: the server ended this session
    "57P02": ServiceUnavailable,  # crash_shutdown
    "57P03": ServiceUnavailable,  # cannot_connect_now: starting up or recovering
    "57014": DeadlineExceeded,  # query_canceled by statement_timeout
    "PGRST116": NotFound,
    "PGRST301": TokenExpired,
}


def from_database_code(code: str | None) -> AppError:
    """The error for an SQLSTATE or a PostgREST code; `DatabaseError` for any other."""
    return BY_DATABASE_CODE.get(code or "", DatabaseError)()
