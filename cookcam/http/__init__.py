"""The HTTP layer: edge, routing, route options, validation, errors, limits, OpenAPI.

These are the names that features use; the program imports `create_app` and `Edge` from their
modules.
"""

from cookcam.http.openapi_schemas import DOCUMENTED_AS_REQUIRED, body_with
from cookcam.http.queries import parse_uuid, query_integers
from cookcam.http.quotas import counted_by_caller, limit_unverified, spend, user_limit
from cookcam.http.request_info import current_request_info
from cookcam.http.responses import EncodedJson
from cookcam.http.route_options import (
    MEBIBYTE,
    deadline,
    document_content,
    document_empty,
    document_failures,
    document_header,
    document_response,
    document_upload,
    errors_as,
    errors_as_page,
    hidden,
    max_body,
    probe,
    rate_limit,
    secured,
    serve_in_maintenance,
    serve_in_read_only,
    unconditional,
    webhook,
)
from cookcam.http.routing import Routes
from cookcam.http.validation import validate_querystring, validate_request, validate_response

__all__ = [
    "DOCUMENTED_AS_REQUIRED",
    "MEBIBYTE",
    "EncodedJson",
    "Routes",
    "body_with",
    "counted_by_caller",
    "current_request_info",
    "deadline",
    "document_content",
    "document_empty",
    "document_failures",
    "document_header",
    "document_response",
    "document_upload",
    "errors_as",
    "errors_as_page",
    "hidden",
    "limit_unverified",
    "max_body",
    "parse_uuid",
    "probe",
    "query_integers",
    "rate_limit",
    "secured",
    "serve_in_maintenance",
    "serve_in_read_only",
    "spend",
    "unconditional",
    "user_limit",
    "validate_querystring",
    "validate_request",
    "validate_response",
    "webhook",
]
