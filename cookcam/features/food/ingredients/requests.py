"""Queries of the ingredient routes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, Struct

from cookcam.errors import NotFound, ValidationError
from cookcam.features.food.ingredients.models import MAX_QUERY_LENGTH
from cookcam.features.literals import rejected_field

NO_QUERY = "Query parameter (q or query) is required"
BAD_LIMIT = "Invalid limit parameter (1-100)"
MAX_COUNT = 100

Text = Annotated[str, Meta(extra_json_schema={"maxLength": MAX_QUERY_LENGTH})]
Limit = Annotated[
    str, Meta(extra_json_schema={"type": "integer", "minimum": 1, "maximum": MAX_COUNT})
]


class SearchFilter(Struct):
    """`q`, or `query`, is required."""

    q: Text = ""
    query: Text = ""
    limit: Limit = ""

    def text(self) -> str:
        """Raises ValidationError."""
        return checked_query(self.q, self.query)


class UsdaFilter(SearchFilter, rename={"page_size": "pageSize", "data_type": "dataType"}):
    """`pageSize` is an alias of `limit`; `dataType`, repeated or comma-separated, goes to USDA."""

    page_size: Limit = ""
    data_type: str | list[str] = ""

    def data_types(self) -> str | None:
        """Raises ValidationError."""
        parts = [self.data_type] if isinstance(self.data_type, str) else self.data_type
        text = ",".join(part for part in parts if part)
        if len(text) > MAX_QUERY_LENGTH or "\0" in text:
            raise rejected_field("Invalid dataType parameter", "dataType")
        return text or None


class ListFilter(Struct):
    category: Annotated[str, Meta(max_length=200)] = ""


def is_from_app(keys: Iterable[str], content_type: str) -> bool:
    """Whether a search comes from the app, which expects a bare array.

    The app sends exactly `q` and `limit`, or `query` and `limit`, with a JSON content type on a GET
    request, which browsers and other clients do not send.
    """
    return (
        sorted(keys) in (["limit", "q"], ["limit", "query"])
        and content_type.partition(";")[0].strip().lower() == "application/json"
    )


def checked_query(*texts: str) -> str:
    """The first text that is not blank. Raises ValidationError."""
    text = next((text.strip() for text in texts if text.strip()), "")
    if not text:
        raise rejected_field(NO_QUERY, "q")
    if len(text) > MAX_QUERY_LENGTH or "\0" in text:
        raise rejected_field(f"Query must have 1 to {MAX_QUERY_LENGTH} characters", "q")
    return text


def checked_limit(text: str, default: int) -> int:
    """A limit from 1 to 100. Raises ValidationError."""
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MAX_COUNT):
        raise ValidationError(BAD_LIMIT, error=BAD_LIMIT, details={"field": "limit"})
    return int(text)


def clamped_limit(text: str, default: int) -> int:
    """The nearest limit from 1 to 100: an invalid limit must not fail the app's search."""
    number = text.removeprefix("-")
    if not (number.isascii() and number.isdigit()):
        return default
    return 1 if text.startswith("-") else max(1, min(MAX_COUNT, int(number[:9])))


def checked_id(text: str, error: NotFound) -> int:
    """A path id in the range of PostgreSQL's integer. Raises `error` for anything else."""
    if text.isascii() and text.isdigit() and len(text) <= 10 and 0 < int(text) < 2**31:
        return int(text)
    raise error
