"""Example values of JSON schemas, for the documents of the socket events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

_TEXTS: Final[Mapping[str, str]] = {
    "date-time": "2026-01-31T12:34:56.789Z",
    "uuid": "00000000-0000-4000-8000-000000000001",
}
"""By format."""
_NAMED_TEXTS: Final[Mapping[str, str]] = {
    "code": "VALIDATION_ERROR",
    "comment": "Looks delicious",
    "description": "With basil and cream",
    "message": "Hello",
    "name": "Ann",
    "title": "Tomato soup",
    "userName": "Ann",
}
"""By the name of the property."""
_LONG_TEXT: Final = "text of the example "


def example_of(schema: Schema, schemas: Mapping[str, Schema], name: str = "") -> Any:
    """A value that the schema accepts. `schemas` are the components that it refers to by name;
    `name` is that of the property, for a telling text. Optional properties are included."""
    if "$ref" in schema:
        return example_of(schemas[schema["$ref"].rpartition("/")[2]], schemas, name)
    for key in ("const", "default"):
        if schema.get(key) is not None:
            return schema[key]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        options = [one for one in schema["anyOf"] if one.get("type") != "null"]
        return example_of(options[0], schemas, name)
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            return {key: example_of(one, schemas, key) for key, one in properties.items()}
        case "array":
            return [example_of(schema.get("items", {}), schemas, name)]
        case "string":
            return _text(schema, name)
        case "integer" | "number":
            return max(schema.get("minimum", 1), min(1, schema.get("maximum", 1)))
        case "boolean":
            return True
        case _:
            return None


def _text(schema: Schema, name: str) -> str:
    if "format" in schema:
        return _TEXTS[schema["format"]]
    text = _NAMED_TEXTS.get(name, name or "text")
    minimum = schema.get("minLength", 0)
    if len(text) < minimum:
        text = (_LONG_TEXT * minimum)[:minimum]
    return text[: schema.get("maxLength", len(text))]
