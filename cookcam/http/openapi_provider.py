"""Builds the OpenAPI document with Quart-Schema. Imported only when the document is built."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from msgspec.json import schema_components
from quart_schema import HttpSecurityScheme, Info, OpenAPIProvider, QuartSchema, Server
from werkzeug.routing import Rule

from cookcam.http.error_codes import ERROR_CODES, codes_of
from cookcam.http.openapi_schemas import (
    describe_body,
    query_parameters,
    require_one_field,
)
from cookcam.http.route_options import RouteOptions, Traffic, route_options_of
from cookcam.http.routing import CANONICAL, template_of

if TYPE_CHECKING:
    from cookcam.http.app import CookCamApp

BEARER = "bearerAuth"

ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Every failure. Match on `code`; `message` is for people.",
    "properties": {
        "success": {"const": False, "description": "On some endpoints only."},
        "error": {"type": "string", "description": "A literal of the endpoint, or the code."},
        "message": {"type": "string"},
        "code": {"enum": sorted(ERROR_CODES)},
        "statusCode": {"type": "integer"},
        "requestId": {"type": "string"},
        "timestamp": {"type": "string", "format": "date-time"},
        "path": {"type": "string"},
        "details": {
            "type": "object",
            "description": "What is wrong with which field; some codes have other keys.",
            "properties": {
                "field": {"type": "string"},
                "rule": {"type": "string"},
                "reason": {"type": "string"},
            },
        },
        "retryAfter": {"type": "integer", "description": "Seconds; on a 429 and some 503."},
        "shouldRetry": {"type": "boolean", "description": "On failures of purchases."},
        "required": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Names of the fields that are needed; on some 400.",
        },
        "feature": {"type": "string", "description": "With FEATURE_UNAVAILABLE."},
        "limit": {"type": "integer", "description": "With LIMIT_REACHED."},
        "usage": {"type": "integer", "description": "With LIMIT_REACHED."},
        "currentTier": {"type": ["string", "null"], "description": "With UPGRADE_REQUIRED."},
        "requiredTier": {"type": "string", "description": "With UPGRADE_REQUIRED."},
        "upgradeUrl": {"type": "string", "description": "Where a higher tier is sold."},
    },
    "required": ["error", "message", "code", "statusCode", "requestId", "timestamp", "path"],
}

FAILURES: Mapping[int, tuple[str, str]] = {
    400: ("BadRequest", "The request is malformed or not acceptable."),
    401: ("Unauthorized", "No valid token was given."),
    403: ("Forbidden", "The caller may not do this."),
    402: ("PaymentRequired", "The payment was not made."),
    404: ("NotFound", "There is no such thing."),
    409: ("Conflict", "It conflicts with what is there, or with another request."),
    413: ("PayloadTooLarge", "The body is too large."),
    415: ("UnsupportedMediaType", "The content type cannot be used."),
    422: ("Unprocessable", "The content is of the right kind and cannot be used."),
    429: ("TooManyRequests", "Too many requests; see Retry-After."),
    500: ("InternalError", "A fault of the server."),
    501: ("NotImplemented", "This is not there yet."),
    502: ("BadGateway", "A service behind the server failed."),
    503: ("Unavailable", "Something the server needs does not answer; try again."),
    504: ("DeadlineExceeded", "The request took too long."),
}


def _header(description: str, **schema: Any) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string", **schema}}


COMMON_HEADERS = ("X-Request-Id",)
QUOTA_HEADERS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
"""On responses of counted routes, unless limits are switched off."""

FAILURE_HEADERS: Mapping[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    409: ("Retry-After",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}

HEADERS: Mapping[str, dict[str, Any]] = {
    "X-Request-Id": _header("The id of the request, the client's own if it sent one.", minLength=1),
    "RateLimit-Limit": _header("Requests in the window.", type="integer"),
    "RateLimit-Remaining": _header("Requests left in the window.", type="integer"),
    "RateLimit-Reset": _header("Seconds until the whole quota is free.", type="integer"),
    "Retry-After": _header("Seconds to wait before the request is sent again.", type="integer"),
    "WWW-Authenticate": _header("`Bearer`."),
    "ETag": _header("Weak tag of the body; send it as `If-None-Match` to get a 304."),
}

EVENT_STREAM = {
    "type": "string",
    "description": (
        "Server-sent events, where the request accepts `text/event-stream`: `progress`, one event"
        " for each finished part (`suggestion`, `preview`, `recipe` or `step`), and at the end"
        " `done` with the JSON body of the ordinary response, or `error` with an Error."
    ),
}
EVENT_STREAM_EXAMPLE = (
    'event: progress\ndata: {"stage": "writing", "characters": 120, "items": 1}\n\n'
    "event: done\ndata: {…}\n\n"
)

EXAMPLES = Path(__file__).parent / "examples.json"
"""By operation: `request` and, by status, `response`; recorded by tests/support/record_examples."""

BYTES = {"type": "string", "format": "binary"}

ANYWHERE = frozenset((400, 413, 500, 502, 503, 504))
"""Statuses that every route may have: the edge rejects addresses and bodies, any view may fail."""


def build_document(app: CookCamApp, version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the app's canonical routes."""
    app.config["QUART_SCHEMA_CONVERSION_PREFERENCE"] = "msgspec"
    app.config["QUART_SCHEMA_CONVERT_CASING"] = False
    extension = QuartSchema(
        info=Info("CookCam API", version),
        servers=[Server(CANONICAL)],
        security_schemes={BEARER: HttpSecurityScheme("bearer", "JWT")},
    )
    document = Provider(app, extension).schema()
    components = document["components"]
    components["schemas"]["Error"] = ERROR_SCHEMA
    components["headers"] = HEADERS
    components["responses"] = {
        name: _failure(status, description) for status, (name, description) in FAILURES.items()
    }
    return document


def _failure(status: int, description: str) -> dict[str, Any]:
    """The response of a status: the error schema, with the codes that the status can have."""
    codes = codes_of(status)
    narrowed = {"properties": {"code": {"enum": codes}, "statusCode": {"const": status}}}
    example = {
        "error": codes[0],
        "message": ERROR_CODES[codes[0]].meaning,
        "code": codes[0],
        "statusCode": status,
        "requestId": "0b6f2a3c-5d1e-4f7a-9c8b-2e4d6f8a0b1c",
        "timestamp": "2026-01-31T12:34:56.789Z",
        "path": "/api/v1/recipes",
    }
    schema = {"allOf": [{"$ref": "#/components/schemas/Error"}, narrowed]}
    names = (*COMMON_HEADERS, *QUOTA_HEADERS, *FAILURE_HEADERS.get(status, ()))
    return {
        "description": description,
        "headers": _references_to(names),
        "content": {"application/json": {"schema": schema, "example": example}},
    }


def _references_to(headers: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in headers}


class Provider(OpenAPIProvider):
    """Quart-Schema's provider, based on our route options."""

    def __init__(self, app: CookCamApp, extension: QuartSchema) -> None:
        super().__init__(app, extension)
        self._views = app.view_functions
        self._rules = [rule for rule in app.url_map.iter_rules() if self._is_documented(rule)]
        models = dict.fromkeys(
            model for rule in self._rules for model in _models(route_options_of(self._view(rule)))
        )
        references, schemas = schema_components(
            list(models), ref_template="#/components/schemas/{name}"
        )
        self._schemas = deepcopy(schemas)  # models share parts of their schemas
        self._references = dict(zip(models, references, strict=True))
        self._examples: dict[str, Any] = json.loads(EXAMPLES.read_bytes())
        all_options = [route_options_of(self._view(rule)) for rule in self._rules]
        for body in dict.fromkeys(
            options.body for options in all_options if options.body is not None
        ):
            describe_body(self._schemas[self._name_of(body)], body)
        for body in dict.fromkeys(m.body for m in all_options if m.body and m.needs_one_field):
            require_one_field(self._schemas[self._name_of(body)])
        # Nothing refers to the model of a query: it becomes the parameters of its operations.
        self._queries = {
            query: query_parameters(self._schemas.pop(self._name_of(query)))
            for query in dict.fromkeys(
                m.query_model for m in all_options if m.query_model is not None
            )
        }

    def generate_rules(self) -> Iterable[Rule]:
        return sorted(self._rules, key=lambda rule: rule.rule)

    def generate_methods(self, rule: Rule) -> Iterable[str]:
        return sorted(set(rule.methods or ()) - {"HEAD", "OPTIONS"})

    def operation_id(self, method: str, path: str, func: Any) -> str:
        path_parts = re.findall(r"[A-Za-z0-9]+", path.removeprefix(CANONICAL))
        return "_".join([method.lower(), *path_parts])

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        built, _ = cast("Any", super()).build_paths(rule)
        view = self._view(rule)
        path = template_of(rule.rule)
        operations = dict[str, Any](next(iter(built.values())))
        short = path.removeprefix(CANONICAL) if path.startswith(CANONICAL + "/") else path
        for method, operation in operations.items():
            examples = self._examples.get(f"{method.upper()} {short}", {})
            self._describe(operation, method, rule, view, examples)
        if short != path:
            return {short: operations}, self._schemas
        return {path: {**operations, "servers": [{"url": "/"}]}}, self._schemas

    def _describe(
        self,
        operation: dict[str, Any],
        method: str,
        rule: Rule,
        view: Any,
        examples: Mapping[str, Any],
    ) -> None:
        options = route_options_of(view)
        operation["tags"] = [rule.endpoint.partition(".")[0]]
        if not operation.get("description"):
            operation.pop("description", None)
        operation["parameters"] = [
            *operation["parameters"],
            *options.query,
            *(self._queries[options.query_model] if options.query_model else ()),
        ]
        if bodies := self._bodies(options):
            if "request" in examples and "application/json" in bodies:
                bodies["application/json"]["example"] = examples["request"]
            required = options.body is None or self._needs_fields(options.body)
            operation["requestBody"] = {"required": required, "content": bodies}
        if options.authentication is not None:
            anonymous: list[dict[str, list[str]]] = (
                [{}] if options.authentication == "optional" else []
            )
            operation["security"] = [*anonymous, {BEARER: []}]
        responses = self._responses(rule, options)
        self._add_headers(responses, method, options)
        for status, example in examples.get("response", {}).items():
            if content := responses.get(status, {}).get("content", {}).get("application/json"):
                content["example"] = example
        operation["responses"] = responses

    def _bodies(self, options: RouteOptions) -> dict[str, Any]:
        """The request bodies that a route accepts, by content type."""
        bodies: dict[str, Any] = {}
        if options.body is not None:
            bodies["application/json"] = {"schema": self._references[options.body]}
        if options.form_file is not None:
            parts = {"properties": {options.form_file: BYTES}, "required": [options.form_file]}
            bodies["multipart/form-data"] = {"schema": {"type": "object", **parts}}
        return bodies | {kind: {"schema": BYTES} for kind in options.uploads}

    def _needs_fields(self, body: type[Any]) -> bool:
        schema = self._schemas[self._name_of(body)]
        alternatives = schema.get("anyOf", [])
        return bool(schema["required"] or alternatives)

    def _name_of(self, model: type[Any]) -> str:
        return self._references[model]["$ref"].rpartition("/")[2]

    def _add_headers(self, responses: dict[str, Any], method: str, options: RouteOptions) -> None:
        names = COMMON_HEADERS
        if options.traffic is not Traffic.EXEMPT:
            names = (*COMMON_HEADERS, *QUOTA_HEADERS)
        own = {name: _header(description) for name, description in options.headers}
        for status, response in responses.items():
            if "$ref" not in response:
                response["headers"] = _references_to(names) | (own if int(status) < 300 else {})
        tagged = responses.get("200", {})
        if (
            method == "get"
            and options.conditional
            and "application/json" in tagged.get("content", {})
        ):
            tagged["headers"] |= _references_to(("ETag",))
            responses["304"] = {
                "description": "The response is the one that `If-None-Match` names",
                "headers": _references_to((*names, "ETag")),
            }

    def _responses(self, rule: Rule, options: RouteOptions) -> dict[str, Any]:
        responses: dict[str, Any] = {
            str(status): {
                "description": "Success" if status < 400 else "Failure",
                "content": {"application/json": {"schema": self._references[model]}},
            }
            for status, model in sorted(options.responses.items())
        }
        for status, kind in options.contents:
            response = responses.setdefault(str(status), {"description": "Success", "content": {}})
            response["content"][kind] = (
                {"schema": EVENT_STREAM, "example": EVENT_STREAM_EXAMPLE}
                if kind == "text/event-stream"
                else {"schema": BYTES}
            )
        for status in options.empty:
            responses[str(status)] = {"description": "Success; the answer has no body"}
        if not responses and 501 not in options.failures:
            responses["200"] = {"description": "Success"}
        expected = {*ANYWHERE, *options.failures}
        if options.traffic is not Traffic.EXEMPT:
            expected.add(429)
        if "{" in template_of(rule.rule):
            expected.add(404)
        if self._bodies(options):
            expected.add(415)
        if options.authentication == "required":
            expected |= {401, 403}
        for status in sorted(expected):
            reference = f"#/components/responses/{FAILURES[status][0]}"
            responses.setdefault(str(status), {"$ref": reference})
        return responses

    def _view(self, rule: Rule) -> Any:
        return self._views[rule.endpoint]

    def _is_documented(self, rule: Rule) -> bool:
        return "@" not in rule.endpoint and not route_options_of(self._view(rule)).hidden


def _models(options: RouteOptions) -> Iterable[Any]:
    for model in (options.body, options.query_model, *options.responses.values()):
        if model is not None:
            yield model
