"""JSON schemas from attrs classes, and values of those classes from JSON.

A shape is a frozen attrs class whose fields are `str`, `int`, `float`, `bool`, a Literal of
strings, another shape, a `tuple[X, ...]` or `list[X]` of these, or `X | None`. The schema follows
OpenAI's strict structured output: objects allow no additional properties, every key is required
(optional fields are nullable), and there are no references.
Source: OpenAI's guide to structured outputs, "Supported schemas".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin

import attrs
from attrs import NOTHING, Attribute, define, field
from cattrs import Converter
from cattrs.errors import BaseValidationError, CattrsError
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from cookcam.json_parsing import JsonError, parse_json

S = TypeVar("S")
JsonSchema = dict[str, Any]

_PLAIN: Mapping[type, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def described(
    about: str,
    *,
    name: str | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    min_items: int | None = None,
    max_items: int | None = None,
    default: Any = NOTHING,
) -> Any:
    """Define a field of a shape; `about` is its description in the schema.

    `name` is the key in JSON if it differs from the attribute's name. `minimum` and `maximum` limit
    a number, `min_items` and `max_items` the length of a list, inclusive. The limits are part of
    the schema, and `Shapes.read` rejects values outside. `default` is for code that builds the
    class: in JSON every field is required.
    """
    limits = {"minimum": minimum, "maximum": maximum, "minItems": min_items, "maxItems": max_items}
    return field(
        default=default,
        metadata={
            "about": about,
            "name": name,
            "limits": {rule: limit for rule, limit in limits.items() if limit is not None},
        },
    )


@define(eq=False)
class Shapes:
    """Builds the schemas of shapes and reads and writes their values.

    Schemas and converters are cached per shape, so create one `Shapes` and keep it.
    """

    _converter: Converter = field(init=False)
    _schemas: dict[type[Any], JsonSchema] = field(init=False, factory=dict[type[Any], JsonSchema])

    def __attrs_post_init__(self) -> None:
        self._converter = _converter()

    def schema(self, shape: type[Any]) -> JsonSchema:
        """Return the strict JSON schema of a shape. Raises TypeError for unsupported types."""
        if shape not in self._schemas:
            self._schemas[shape] = schema_of(shape)
        return self._schemas[shape]

    def read(self, shape: type[S], text: str | bytes) -> S:
        """Parse a JSON text.

        Raises ValueError when it is not JSON or has another shape. The message never quotes it.
        """
        try:
            value: object = parse_json(text)
        except JsonError:
            raise ValueError("not JSON") from None
        return self.structure(shape, value)

    def structure(self, shape: type[S], value: object) -> S:
        """Like `read`, from parsed JSON."""
        try:
            return self._converter.structure(value, shape)
        except (CattrsError, BaseValidationError, LookupError, TypeError, ValueError):
            raise ValueError(f"not a {getattr(shape, '__name__', 'value of that shape')}") from None

    def write(self, value: Any) -> Any:
        """Convert a value to JSON-ready dicts and lists, with the keys of its schema."""
        return self._converter.unstructure(value)


def schema_of(shape: type[Any]) -> JsonSchema:
    """Return the strict JSON schema of a shape. Raises TypeError for unsupported types."""
    if not attrs.has(shape):
        raise TypeError(f"{shape!r} is not an attrs class")
    return _object(shape, ())


def key_of(attribute: Attribute[Any]) -> str:
    """Return the key of a field in JSON."""
    return attribute.metadata.get("name") or attribute.name


def list_field(shape: type[Any], key: str) -> type[Any]:
    """Return the element type of the list under `key`. Raises TypeError when there is none."""
    attrs.resolve_types(shape)
    for attribute in attrs.fields(shape):
        if key_of(attribute) == key and _is_list(attribute.type):
            return get_args(attribute.type)[0]
    raise TypeError(f"{shape.__name__} has no list {key!r}")


def _object(shape: type[Any], within: tuple[type[Any], ...]) -> JsonSchema:
    if shape in within:
        raise TypeError(f"{shape.__name__} contains itself")
    attrs.resolve_types(shape)
    properties: JsonSchema = {}
    for attribute in attrs.fields(shape):
        made = _type(attribute.type, (*within, shape))
        target = made
        if "anyOf" in made:
            target = cast("list[JsonSchema]", made["anyOf"])[0]
        target.update(attribute.metadata.get("limits", {}))
        if about := attribute.metadata.get("about"):
            made["description"] = about
        properties[key_of(attribute)] = made
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _type(annotation: Any, within: tuple[type[Any], ...]) -> JsonSchema:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in _PLAIN:
        return {"type": _PLAIN[annotation]}
    if origin is Literal and all(isinstance(choice, str) for choice in arguments):
        return {"type": "string", "enum": list(arguments)}
    if _is_list(annotation):
        return {"type": "array", "items": _type(arguments[0], within)}
    if origin in (Union, UnionType):
        present = [argument for argument in arguments if argument is not NoneType]
        if len(present) == 1 and len(arguments) == 2:
            return {"anyOf": [_type(present[0], within), {"type": "null"}]}
    if isinstance(annotation, type) and attrs.has(annotation):
        return _object(annotation, within)
    raise TypeError(f"no JSON schema for {annotation!r}")


def _converter() -> Converter:
    """Build a strict converter: by default cattrs converts "3" to 3 and a text to a list."""
    converter = Converter(detailed_validation=False, forbid_extra_keys=True)

    for kind, read in ((str, _text), (int, _integer), (float, _number), (bool, _boolean)):
        converter.register_structure_hook(kind, read)

    def of_list(annotation: Any) -> Callable[[object, Any], Any]:
        origin, element = get_origin(annotation), get_args(annotation)[0]

        def read(value: object, _: Any) -> Any:
            if not isinstance(value, list):
                raise ValueError("must be a list")
            items = cast("list[object]", value)
            return origin(converter.structure(item, element) for item in items)

        return read

    def of_shape(shape: type[Any]) -> Callable[[object, Any], Any]:
        attrs.resolve_types(shape)
        fields: dict[str, Any] = {
            a.name: override(rename=key_of(a), struct_hook=_limited(converter, a))
            for a in attrs.fields(shape)
        }
        structure = make_dict_structure_fn(
            shape, converter, _cattrs_forbid_extra_keys=True, **fields
        )

        def read(value: object, _: Any) -> Any:
            if not isinstance(value, dict):
                raise TypeError
            return structure(cast("dict[str, Any]", value), shape)

        return read

    def to_dict(shape: type[Any]) -> Callable[[Any], dict[str, Any]]:
        attrs.resolve_types(shape)
        renamed: dict[str, Any] = {a.name: override(rename=key_of(a)) for a in attrs.fields(shape)}
        return make_dict_unstructure_fn(shape, converter, **renamed)

    converter.register_structure_hook_factory(_is_list, of_list)
    converter.register_structure_hook_factory(attrs.has, of_shape)
    converter.register_unstructure_hook_factory(attrs.has, to_dict)
    return converter


def _is_list(annotation: Any) -> bool:
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    return origin is list or (origin is tuple and arguments[1:] == (...,))


def _limited(converter: Converter, attribute: Attribute[Any]) -> Callable[[object, Any], Any]:
    """Build the hook that reads one field and checks its limits."""
    annotation: Any = attribute.type
    limits: Mapping[str, float] = attribute.metadata.get("limits", {})

    def read(value: object, _: Any) -> Any:
        result: Any = converter.structure(value, annotation)
        if result is None or not limits:
            return result
        size: float = len(result) if isinstance(value, list) else result
        lower = limits.get("minItems", limits.get("minimum", size))
        upper = limits.get("maxItems", limits.get("maximum", size))
        if not lower <= size <= upper:
            raise ValueError("outside the limits")
        return result

    return read


def _text(value: object, _: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    if "\x00" in value:
        raise ValueError("PostgreSQL cannot store NUL")
    return value


def _integer(value: object, _: Any) -> int:
    """Read an integer; JSON Schema treats 20.0 as one."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def _number(value: object, _: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError
    return float(value)


def _boolean(value: object, _: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value
