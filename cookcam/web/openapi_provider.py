"""Builds the OpenAPI document with Quart-Schema. Imported only when the document is wanted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from msgspec.json import schema_components
from quart_schema import HttpSecurityScheme, Info, OpenAPIProvider, QuartSchema, Server
from werkzeug.routing import Rule

from cookcam.web.marks import SECURED, Marks, marks_of
from cookcam.web.openapi_schemas import describe_body, query_parameters, require_known_field
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

BYTES = {"type": "string", "format": "binary"}

ANYWHERE = frozenset((400, 413, 500, 502, 503, 504))
"""What every route may answer: the edge refuses addresses and bodies, and anything may fail."""


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
        said = [marks_of(self._view(rule)) for rule in self._rules]
        for body in dict.fromkeys(marks.body for marks in said if marks.body is not None):
            describe_body(self._schemas[self._name_of(body)])
        for body in dict.fromkeys(m.body for m in said if m.body and m.body_has_known_field):
            require_known_field(self._schemas[self._name_of(body)])
        # Nothing refers to the model of a query: it becomes the parameters of its operations.
        self._queries = {
            query: query_parameters(self._schemas.pop(self._name_of(query)))
            for query in dict.fromkeys(m.query_model for m in said if m.query_model is not None)
        }

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
            *(self._queries[marks.query_model] if marks.query_model else ()),
        ]
        if bodies := self._bodies(marks):
            wanted = marks.body is None or self._schemas[self._name_of(marks.body)]["required"]
            operation["requestBody"] = {"required": bool(wanted), "content": bodies}
        security = getattr(view, SECURED, None)
        if security:
            optional: list[dict[str, list[str]]] = [{}] if security == "optional" else []
            operation["security"] = [*optional, {BEARER: []}]
        operation["responses"] = self._responses(operation, rule, marks, security == "required")

    def _bodies(self, marks: Marks) -> dict[str, Any]:
        """The kinds of body a route takes."""
        bodies: dict[str, Any] = {}
        if marks.body is not None:
            bodies["application/json"] = {"schema": self._references[marks.body]}
        if marks.form_file is not None:
            parts = {"properties": {marks.form_file: BYTES}, "required": [marks.form_file]}
            bodies["multipart/form-data"] = {"schema": {"type": "object", **parts}}
        return bodies | {kind: {"schema": BYTES} for kind in marks.uploads}

    def _name_of(self, model: type[Any]) -> str:
        return self._references[model]["$ref"].rpartition("/")[2]

    def _responses(
        self, operation: dict[str, Any], rule: Rule, marks: Marks, secured: bool
    ) -> dict[str, Any]:
        responses: dict[str, Any] = {
            str(status): {
                "description": "Success" if status < 400 else "Failure",
                "content": {"application/json": {"schema": self._references[model]}},
            }
            for status, model in sorted(marks.responses.items())
        }
        for status, kind in marks.contents:
            response = responses.setdefault(str(status), {"description": "Success", "content": {}})
            response["content"][kind] = {"schema": {"type": "string"}}
        for status in marks.empty:
            responses[str(status)] = {"description": "Success; the answer has no body"}
        if not responses and 501 not in marks.failures:
            responses["200"] = {"description": "Success"}
        expected = {*ANYWHERE, *marks.failures}
        if rule.rule not in PROBES:
            expected.add(429)
        if "{" in template_of(rule.rule):
            expected.add(404)
        if self._bodies(marks):
            expected.add(415)
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
