"""Schemas of requests for the OpenAPI document: what routes accept, beyond what the models say.

A model has optional fields where an endpoint refuses their absence in words of its own, and no
field says of itself that null means left out. The document says both.
"""

from __future__ import annotations

from typing import Any, cast

from msgspec import Meta

_WANTED = "x-wanted"

WANTED = Meta(extra_json_schema={_WANTED: True})
"""In `Annotated`: the field is documented as required, though the model can do without it."""


JsonSchema = dict[str, Any]

NO_NUL = r"^[^\u0000]*$"
"""PostgreSQL has no NUL in text, so every body with one is refused."""

NOT_BLANK = r"[^\s\u001c-\u001f\u0085]"
r"""`\S` of Python, which takes more for white space than the expressions of JSON schema do."""


def given(**kinds: JsonSchema) -> JsonSchema:
    """The schema of bodies that have all these fields. In a model's `any_of`."""
    return {"required": sorted(kinds), "properties": kinds}


def describe_body(schema: JsonSchema, model: type[Any]) -> None:
    """Turns the schema of a model into that of a body.

    A field that may be left out may be null too. `any_of` of the model, if it has one, are
    schemas of which a body has to match one: fields that may stand for each other.
    """
    required = set(schema.get("required", ()))
    for name, kind in _properties(schema).items():
        if kind.pop(_WANTED, False):
            required.add(name)
            _refuse_null(kind)
        elif name not in required:
            _accept_null(kind)
    schema["required"] = sorted(required)
    if alternatives := getattr(model, "any_of", None):
        schema["anyOf"] = list(alternatives)
    _refuse_nul(schema)


NO_FIELDS = {"maxProperties": 0}
"""The alternative of a schema that an empty body meets."""


def require_known_field(schema: dict[str, Any]) -> None:
    """Of a body that is empty or has one of the fields that the model knows."""
    schema["anyOf"] = [
        NO_FIELDS,
        *({"required": [name]} for name in _properties(schema)),
    ]


def query_parameters(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The parameters of a query whose model has this schema."""
    required = set(schema.get("required", ()))
    parameters: list[dict[str, Any]] = []
    for name, kind in _properties(schema).items():
        wanted = kind.get(_WANTED, False) or name in required
        # An empty default is how a model says that nothing was given.
        shown = {
            key: value
            for key, value in kind.items()
            if key != _WANTED and not (key == "default" and value in ("", None))
        }
        parameters.append({"name": name, "in": "query", "required": wanted, "schema": shown})
    return parameters


def _refuse_nul(node: Any) -> None:
    """Adds the rule to every string below `node` that has no rule which implies it."""
    if isinstance(node, list):
        for item in cast("list[Any]", node):
            _refuse_nul(item)
    if not isinstance(node, dict):
        return
    schema = cast("JsonSchema", node)
    for name, below in schema.items():
        if name in ("properties", "$defs"):
            for kind in below.values():
                _refuse_nul(kind)
        elif name not in ("default", "const", "enum", "examples", "required"):
            _refuse_nul(below)
    kinds = schema.get("type", ())
    if "string" not in ([kinds] if isinstance(kinds, str) else kinds):
        return
    if not {"pattern", "enum", "format", "const"} & schema.keys():
        schema["pattern"] = NO_NUL
    elif schema.get("pattern") == r"\S":
        schema["pattern"] = NOT_BLANK
        schema["allOf"] = [{"pattern": NO_NUL}]


def _properties(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return schema.get("properties", {})


def _refuse_null(kind: dict[str, Any]) -> None:
    kind.pop("default", None)
    others = [member for member in _members(kind) if member.get("type") != "null"]
    if len(others) == 1:
        del kind["anyOf"]
        kind.update(others[0])
    elif others:
        kind["anyOf"] = others


def _accept_null(kind: dict[str, Any]) -> None:
    # Generators of clients take a field with a default for one that is always there.
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
