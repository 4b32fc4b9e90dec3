"""Request schemas of the OpenAPI document: rules of routes that the models do not express.

A model declares a field optional where the endpoint itself rejects its absence with its own error
text, and does not express that null means absent. The document states both.
"""

from __future__ import annotations

from typing import Any, cast

from msgspec import Meta

from cookcam.text import VISIBLE_PATTERN

_REQUIRED = "x-wanted"

DOCUMENTED_AS_REQUIRED = Meta(extra_json_schema={_REQUIRED: True})
"""In `Annotated`: the field is documented as required, though it is optional in the model."""


JsonSchema = dict[str, Any]

NO_NUL = r"^[^\u0000]*$"
"""PostgreSQL has no NUL in text, so every body with one is rejected."""

NOT_BLANK = r"[^\s\u001c-\u001f\u0085]"
r"""Python's `\S`, which treats more characters as white space than JSON schema does."""


def body_with(**kinds: JsonSchema) -> JsonSchema:
    """The schema of bodies that have all these fields. In a model's `any_of`."""
    return {"required": sorted(kinds), "properties": kinds}


def describe_body(schema: JsonSchema, model: type[Any]) -> None:
    """Convert the schema of a model to that of a request body, in place.

    A field that may be left out may be null too. `any_of` of the model, if it has one, are
    schemas of which a body must match one: alternative fields.
    """
    required = set(schema.get("required", ()))
    for name, kind in _properties(schema).items():
        if kind.pop(_REQUIRED, False):
            required.add(name)
            _reject_null(kind)
        elif name not in required:
            _accept_null(kind)
    schema["required"] = sorted(required)
    if alternatives := getattr(model, "any_of", None):
        schema["anyOf"] = list(alternatives)
    _reject_nul(schema)


def require_one_field(schema: dict[str, Any]) -> None:
    """Require the body to have at least one field of the model."""
    schema["anyOf"] = [{"required": [name]} for name in _properties(schema)]


def query_parameters(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The parameters of a query whose model has this schema."""
    required = set(schema.get("required", ()))
    parameters: list[dict[str, Any]] = []
    for name, kind in _properties(schema).items():
        needed = kind.get(_REQUIRED, False) or name in required
        # An empty default means that the parameter is absent.
        documented = {
            key: value
            for key, value in kind.items()
            if key != _REQUIRED and not (key == "default" and value in ("", None))
        }
        parameters.append({"name": name, "in": "query", "required": needed, "schema": documented})
    return parameters


def _reject_nul(node: Any) -> None:
    """Adds the rule to every string below `node` that has no rule which implies it."""
    if isinstance(node, list):
        for item in cast("list[Any]", node):
            _reject_nul(item)
    if not isinstance(node, dict):
        return
    schema = cast("JsonSchema", node)
    for name, below in schema.items():
        if name in ("properties", "$defs"):
            for kind in below.values():
                _reject_nul(kind)
        elif name not in ("default", "const", "enum", "examples", "required"):
            _reject_nul(below)
    kinds = schema.get("type", ())
    if "string" not in ([kinds] if isinstance(kinds, str) else kinds):
        return
    if not {"pattern", "enum", "format", "const"} & schema.keys():
        schema["pattern"] = NO_NUL
    elif schema.get("pattern") in (r"\S", VISIBLE_PATTERN):  # rules for one of the characters
        if schema["pattern"] == r"\S":
            schema["pattern"] = NOT_BLANK
        schema["allOf"] = [{"pattern": NO_NUL}]


def _properties(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return schema.get("properties", {})


def _reject_null(kind: dict[str, Any]) -> None:
    kind.pop("default", None)
    others = [member for member in _members(kind) if member.get("type") != "null"]
    if len(others) == 1:
        del kind["anyOf"]
        kind.update(others[0])
    elif others:
        kind["anyOf"] = others


def _accept_null(kind: dict[str, Any]) -> None:
    # Client generators treat a field with a default as always present.
    kind.pop("default", None)
    if "enum" in kind:
        kind["enum"] = [*kind["enum"], None]
    if isinstance(kind.get("type"), str):
        kind["type"] = [kind["type"], "null"]
    elif "$ref" in kind:
        kind["anyOf"] = [{"$ref": kind.pop("$ref")}, {"type": "null"}]
    elif (members := _members(kind)) and not any(m.get("type") == "null" for m in members):
        kind["anyOf"] = [*members, {"type": "null"}]


def _members(kind: dict[str, Any]) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", kind.get("anyOf", []))
