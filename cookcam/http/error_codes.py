"""Every `code` of an error response, with its statuses and meaning.

The OpenAPI document and docs/errors.md are made from this table; a test compares it with the
classes that derive from `cookcam.errors.AppError`.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen


@frozen
class ErrorCode:
    """`meaning` is for developers of clients: what happened, and what to do."""

    statuses: tuple[int, ...]
    meaning: str


ERROR_CODES: Mapping[str, ErrorCode] = {
    "BAD_REQUEST": ErrorCode((400,), "The request, or one of its headers, cannot be understood."),
    "CONSTRAINT_VIOLATION": ErrorCode((400,), "A value breaks a rule of the database."),
    "FOREIGN_KEY_ERROR": ErrorCode((400,), "The request refers to something that does not exist."),
    "INVALID_INPUT": ErrorCode((400,), "A value has the wrong format, for instance an id."),
    "INVALID_JSON": ErrorCode((400,), "The body is not valid JSON, or no object or array."),
    "INVALID_PLATFORM": ErrorCode((400,), "`platform` of a purchase is not `ios` or `android`."),
    "INVALID_REQUEST": ErrorCode((400,), "A purchase lacks `platform` or `productId`."),
    "MISSING_RECEIPT": ErrorCode((400,), "An iOS purchase lacks `receipt`."),
    "MISSING_TOKEN": ErrorCode((400,), "An Android purchase lacks `purchaseToken`."),
    "PURCHASE_PENDING": ErrorCode(
        (400,), "The store has not received the money yet. Try again later (`shouldRetry`)."
    ),
    "PURCHASE_REJECTED": ErrorCode((400,), "The store does not confirm the purchase."),
    "REQUIRED_FIELD_MISSING": ErrorCode((400,), "A required value is missing."),
    "SIGNUP_ERROR": ErrorCode(
        (400,), "The account cannot be created; the address may have one already."
    ),
    "UNSUPPORTED_IMAGE_TYPE": ErrorCode((400,), "The image is of a type that is not supported."),
    "VALIDATION_ERROR": ErrorCode(
        (400,), "A field breaks its rule; `details` has `field` and `rule` where one is at fault."
    ),
    "AUTHENTICATION_ERROR": ErrorCode((401,), "No token was sent, or the password is wrong."),
    "INVALID_CREDENTIALS": ErrorCode((401,), "E-mail address or password is wrong."),
    "INVALID_PUSH_TOKEN": ErrorCode((401,), "Google Pub/Sub's token is not valid (webhook only)."),
    "TOKEN_EXPIRED": ErrorCode(
        (401,), "The token is expired, revoked or not valid. Refresh the session, then repeat."
    ),
    "PAYMENT_ERROR": ErrorCode((402,), "The payment was declined."),
    "ACCOUNT_CLOSED": ErrorCode(
        (403,), "The account is deleted, being deleted, or banned: nothing may be charged for it."
    ),
    "AUTHORIZATION_ERROR": ErrorCode((403,), "The caller may not do this."),
    "CREATOR_REQUIRED": ErrorCode((403,), "Only for creators."),
    "EMAIL_NOT_CONFIRMED": ErrorCode((403,), "The e-mail address has to be confirmed first."),
    "FEATURE_UNAVAILABLE": ErrorCode((403,), "The caller's tier does not include the feature."),
    "FORBIDDEN": ErrorCode((403,), "Only for administrators."),
    "INSUFFICIENT_PERMISSIONS": ErrorCode(
        (403,), "The caller's role or ownership does not allow it."
    ),
    "LIMIT_REACHED": ErrorCode(
        (403,), "The quota of the caller's tier is used up; `limit` and `usage` have the numbers."
    ),
    "UPGRADE_REQUIRED": ErrorCode((403,), "A higher tier is needed; `requiredTier` names it."),
    "NOT_FOUND": ErrorCode((404,), "There is no such route or resource, or not for the caller."),
    "CONFLICT_ERROR": ErrorCode(
        (409,), "The request conflicts with the present state, or with a request still running."
    ),
    "DUPLICATE_ENTRY": ErrorCode((409,), "There is one already, for instance of that title."),
    "IDEMPOTENCY_KEY_REUSED": ErrorCode(
        (409,), "The `Idempotency-Key` belongs to a different request. Use a new key."
    ),
    "RECEIPT_OF_ANOTHER": ErrorCode((409,), "The purchase belongs to another account."),
    "TRANSACTION_CONFLICT": ErrorCode((409,), "Two requests met in the database. Repeat."),
    "PAYLOAD_TOO_LARGE": ErrorCode((413,), "The body is too large."),
    "UNSUPPORTED_MEDIA_TYPE": ErrorCode((415,), "The content type is not supported."),
    "ANALYSIS_FAILED": ErrorCode((422,), "No ingredients were recognised on the photograph."),
    "INVALID_IMAGE": ErrorCode((422,), "The image cannot be decoded, or has too many pixels."),
    "RATE_LIMIT_ERROR": ErrorCode((429,), "Too many requests; wait for `Retry-After`."),
    "DATABASE_ERROR": ErrorCode((500,), "The database failed."),
    "INTERNAL_ERROR": ErrorCode((500,), "A fault of the server. It is logged under `requestId`."),
    "SERVICE_AUTH_ERROR": ErrorCode((500,), "An external service refused the server's own key."),
    "NOT_IMPLEMENTED": ErrorCode((501,), "The route exists and is not offered yet."),
    "SERVICE_ERROR": ErrorCode((500, 502), "An external service sent an unusable response."),
    "DELETION_UNDER_WAY": ErrorCode((503,), "The account's deletion has begun and ends by itself."),
    "MAINTENANCE": ErrorCode(
        (503,), "The service is under maintenance; wait for `Retry-After`. Sockets are closed."
    ),
    "MIGRATIONS_PENDING": ErrorCode((503,), "The database lacks migrations (readiness only)."),
    "READ_ONLY": ErrorCode(
        (503,), "Reads work, changes do not at the moment; wait for `Retry-After`."
    ),
    "SERVICE_OVERLOADED": ErrorCode((503,), "The server has no capacity; wait for `Retry-After`."),
    "SERVICE_UNAVAILABLE": ErrorCode(
        (503,), "Something the server needs does not respond; wait for `Retry-After`."
    ),
    "DEADLINE_EXCEEDED": ErrorCode((504,), "The request took longer than the route allows."),
}


def codes_of(status: int) -> list[str]:
    """The codes that responses with `status` can have, sorted."""
    return sorted(code for code, error_code in ERROR_CODES.items() if status in error_code.statuses)
