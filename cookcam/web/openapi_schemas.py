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


def describe_body(schema: dict[str, Any]) -> None:
    """Makes of the schema of a model that of a body (R7 of `spec/client-contract.md`)."""
    required = set(schema.get("required", ()))
    for name, kind in _properties(schema).items():
        if kind.pop(_WANTED, False):
            required.add(name)
            _refuse_null(kind)
        elif name not in required:
            _accept_null(kind)
    schema["required"] = sorted(required)


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
