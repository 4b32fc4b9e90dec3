"""Builds the OpenAPI document with Quart-Schema. Imported only when the document is wanted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from msgspec.json import schema_components
from quart_schema import HttpSecurityScheme, Info, OpenAPIProvider, QuartSchema, Server
from werkzeug.routing import Rule

from cookcam.web.marks import SECURED, Marks, marks_of
from cookcam.web.paths import CANONICAL, PROBES
from cookcam.web.routing import template_of

if TYPE_CHECKING:
    from cookcam.web.app import CookCamApp

BEARER = "bearerAuth"

ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Every failure. Match on `code`; `message` is for people.",
    "properties": {
        "success": {"const": False, "description": "On some endpoints only."},
        "error": {"type": "string", "description": "A literal of the endpoint, or the code."},
        "message": {"type": "string"},
        "code": {"type": "string", "examples": ["VALIDATION_ERROR"]},
        "statusCode": {"type": "integer"},
        "requestId": {"type": "string"},
        "timestamp": {"type": "string", "format": "date-time"},
        "path": {"type": "string"},
        "details": {"type": "object"},
        "retryAfter": {"type": "integer", "description": "Seconds; on a 429."},
    },
    "required": ["error", "message", "code", "statusCode", "requestId", "timestamp", "path"],
}

FAILURES: Mapping[int, tuple[str, str]] = {
    400: ("BadRequest", "The request is malformed or not acceptable."),
    401: ("Unauthorized", "No valid token was given."),
    403: ("Forbidden", "The caller may not do this."),
    404: ("NotFound", "There is no such thing."),
    413: ("PayloadTooLarge", "The body is too large."),
    415: ("UnsupportedMediaType", "The content type cannot be used."),
    429: ("TooManyRequests", "Too many requests; see Retry-After."),
    500: ("InternalError", "A fault of the server."),
    503: ("Unavailable", "Something the server needs does not answer; try again."),
    504: ("DeadlineExceeded", "The request took too long."),
}


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
    document["components"]["schemas"]["Error"] = ERROR_SCHEMA
    document["components"]["responses"] = {
        name: {
            "description": description,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        }
        for name, description in FAILURES.values()
    }
    return document


class Provider(OpenAPIProvider):
    """Quart-Schema's provider over our marks instead of its own attributes."""

    def __init__(self, app: CookCamApp, extension: QuartSchema) -> None:
        super().__init__(app, extension)
        self._views = app.view_functions
        self._rules = [rule for rule in app.url_map.iter_rules() if self._is_documented(rule)]
        models = dict.fromkeys(
            model for rule in self._rules for model in _models(marks_of(self._view(rule)))
        )
        references, self._schemas = schema_components(
            list(models), ref_template="#/components/schemas/{name}"
        )
        self._references = dict(zip(models, references, strict=True))

    def generate_rules(self) -> Iterable[Rule]:
        return sorted(self._rules, key=lambda rule: rule.rule)

    def generate_methods(self, rule: Rule) -> Iterable[str]:
        return sorted(set(rule.methods or ()) - {"HEAD", "OPTIONS"})

    def operation_id(self, method: str, path: str, func: Any) -> str:
        words = re.findall(r"[A-Za-z0-9]+", path.removeprefix(CANONICAL))
        return "_".join([method.lower(), *words])

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        built, _ = cast("Any", super()).build_paths(rule)
        view = self._view(rule)
        path = template_of(rule.rule)
        operations = dict[str, Any](next(iter(built.values())))
        for operation in operations.values():
            self._describe(operation, rule, view)
        if path.startswith(CANONICAL + "/"):
            return {path.removeprefix(CANONICAL): operations}, self._schemas
        return {path: {**operations, "servers": [{"url": "/"}]}}, self._schemas

    def _describe(self, operation: dict[str, Any], rule: Rule, view: Any) -> None:
        marks = marks_of(view)
        operation["tags"] = [rule.endpoint.partition(".")[0]]
        if not operation.get("description"):
            operation.pop("description", None)
        operation["parameters"] = [
            *operation["parameters"],
            *marks.query,
            *self._query_parameters(marks),
        ]
        if marks.body is not None:
            schema = self._references[marks.body]
            operation["requestBody"] = {"content": {"application/json": {"schema": schema}}}
        security = getattr(view, SECURED, None)
        if security:
            optional: list[dict[str, list[str]]] = [{}] if security == "optional" else []
            operation["security"] = [*optional, {BEARER: []}]
        operation["responses"] = self._responses(operation, rule, marks, security == "required")

    def _query_parameters(self, marks: Marks) -> list[dict[str, Any]]:
        if marks.query_model is None:
            return []
        name = self._references[marks.query_model]["$ref"].rpartition("/")[2]
        schema: dict[str, Any] = self._schemas[name]
        required = schema.get("required", ())
        return [
            {"name": key, "in": "query", "required": key in required, "schema": kind}
            for key, kind in schema["properties"].items()
        ]

    def _responses(
        self, operation: dict[str, Any], rule: Rule, marks: Marks, secured: bool
    ) -> dict[str, Any]:
        responses: dict[str, Any] = {
            str(status): {
                "description": "Success",
                "content": {"application/json": {"schema": self._references[model]}},
            }
            for status, model in sorted(marks.responses.items())
        } or {"200": {"description": "Success"}}
        expected = {500, 503, 504}
        if rule.rule not in PROBES:
            expected.add(429)
        if operation["parameters"]:
            expected |= {400, 404} if "{" in template_of(rule.rule) else {400}
        if marks.body is not None:
            expected |= {400, 413, 415}
        if secured:
            expected |= {401, 403}
        for status in sorted(expected):
            reference = f"#/components/responses/{FAILURES[status][0]}"
            responses.setdefault(str(status), {"$ref": reference})
        return responses

    def _view(self, rule: Rule) -> Any:
        return self._views[rule.endpoint]

    def _is_documented(self, rule: Rule) -> bool:
        return "@" not in rule.endpoint and not marks_of(self._view(rule)).hidden


def _models(marks: Marks) -> Iterable[Any]:
    for model in (marks.body, marks.query_model, *marks.responses.values()):
        if model is not None:
            yield model
