"""What every route shares: the edge in front of the app, errors, validation, limits, OpenAPI.

These are the names that features use; assembly takes `create_app` and `Edge` from their modules.
"""

from cookcam.web.facts import facts
from cookcam.web.marks import (
    deadline,
    document_content,
    document_empty,
    document_failures,
    document_header,
    document_response,
    document_upload,
    errors_as,
    hidden,
    secured,
    unconditional,
)
from cookcam.web.openapi_schemas import WANTED, given
from cookcam.web.queries import parse_uuid, query_integers
from cookcam.web.quotas import limit_unverified, rate_limit, spend, user_limit
from cookcam.web.routing import Routes
from cookcam.web.validation import validate_querystring, validate_request, validate_response

__all__ = [
    "WANTED",
    "Routes",
    "deadline",
    "document_content",
    "document_empty",
    "document_failures",
    "document_header",
    "document_response",
    "document_upload",
    "errors_as",
    "facts",
    "given",
    "hidden",
    "limit_unverified",
    "parse_uuid",
    "query_integers",
    "rate_limit",
    "secured",
    "spend",
    "unconditional",
    "user_limit",
    "validate_querystring",
    "validate_request",
    "validate_response",
]
