"""Helpers that parse Stripe's JSON objects into the classes of this package.

A `StripeObject` declares for each field how it is parsed; `of` parses an object of a response or
an event of the API version below. Types of Stripe's library are not used outside the provider.
Money is in cents of `currency` (lower case), times are UTC. Source: the API reference of Stripe,
version 2025-05-28.basil.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Generic, Self, TypeAlias, TypeVar, cast
from uuid import UUID

from attrs import field, fields, frozen

from cookcam.errors import ServiceError

API_VERSION: Final = "2025-05-28.basil"
"""The API version of our requests; webhook endpoints must be created with the same one."""

Object: TypeAlias = Mapping[str, Any]
T = TypeVar("T")

EMPTY: Final[Object] = {}


class MalformedObject(ServiceError):
    """An object of Stripe does not have the documented shape."""


@frozen
class Page(Generic[T]):
    """A page of a list, newest first.

    `next_after` is the `starting_after` of the next page, None on the last page.

    `unreadable` is the number of objects without their documented shape; they are logged and
    left out of `items`.
    """

    items: Sequence[T]
    next_after: str | None
    unreadable: int = 0


def read(parse: Callable[[], T]) -> T:
    """Calls `parse`. Raises MalformedObject where it fails on the shape of its document."""
    try:
        return parse()
    except (
        KeyError,
        TypeError,
        ValueError,
        IndexError,
        AttributeError,
        OverflowError,
        OSError,  # a time that the platform cannot represent
    ):
        raise MalformedObject from None


def parsed(parse: Callable[[Any], object], key: str = "", *, repr: bool = True) -> Any:
    """A field that `parse` reads from `key` of the document, by default the field's own name.

    `parse` gets None for a missing key.
    """
    return field(repr=repr, metadata={"parse": parse, "key": key})


@frozen
class StripeObject:
    """An object of Stripe whose fields are declared with `parsed`."""

    @classmethod
    def of(cls, document: Object) -> Self:
        """Raises MalformedObject when the document does not have the documented shape."""
        return read(lambda: cls(**cls.parse_fields(document)))

    @classmethod
    def parse_fields(cls, document: Object) -> dict[str, Any]:
        """The values of the fields that are declared with `parsed`; call it within `read`."""
        return {
            each.name: each.metadata["parse"](document.get(each.metadata["key"] or each.name))
            for each in fields(cls)
            if each.metadata
        }


def text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def text_or_none(value: object) -> str | None:
    return None if value is None else text(value)


def integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a whole number")
    return value


def integer_or_zero(value: object) -> int:
    return 0 if value is None else integer(value)


def objects(value: object) -> Sequence[Object]:
    """The objects of a list of Stripe; empty where it is null or absent."""
    if isinstance(value, Mapping):
        value = cast("Object", value).get("data")
    if value is None:
        return ()
    if not isinstance(value, list):
        raise TypeError("not a list")
    return cast("list[Object]", value)


def id_of(value: object) -> str | None:
    """The id of a related object, which Stripe sends as an id or, expanded, as an object."""
    if isinstance(value, Mapping):
        return text(cast("Object", value)["id"])
    return None if value is None else text(value)


def required_id(value: object) -> str:
    return text(id_of(value))


def time(value: object) -> datetime:
    return datetime.fromtimestamp(integer(value), UTC)


def time_or_none(value: object) -> datetime | None:
    return None if value is None else time(value)


def string_map(value: object) -> Mapping[str, str]:
    return {str(key): str(item) for key, item in nested(value).items()}


def is_true(value: object) -> bool:
    return value is True


def uuid_of(text: str | None) -> UUID | None:
    """A UUID of an object's metadata; None for anything else."""
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def part(document: Object, name: str) -> Object:
    """A nested object; empty where it is null or absent."""
    return nested(document.get(name))


def nested(value: object) -> Object:
    """`value` as an object; empty for None."""
    if value is None:
        return EMPTY
    if not isinstance(value, Mapping):
        raise TypeError("not an object")
    return cast("Object", value)
