"""Lists that are read page by page, newest first, and whose JSON PostgreSQL builds.

A page is `{"<items>": [...], "next_cursor": "..."}`. The cursor is the sort key of the page's last
item, so items that are added or deleted between two requests neither shift nor repeat a page.
`next_cursor` is null on the last page.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, LiteralString

from attrs import frozen
from msgspec import Meta, Struct

from cookcam.errors import ValidationError
from cookcam.http import document_response, query_integers, validate_querystring

View = Callable[..., Awaitable[Any]]

_CURSOR = re.compile(r"([0-9]{1,16})_([A-Za-z0-9_-]{1,64})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@frozen
class PageKey:
    """The sort key of the last item of the previous page; both fields are None before the first."""

    time: datetime | None = None
    id: str | None = None

    def parameters(self) -> dict[str, object]:
        """The parameters of a statement that `newest_first` returns."""
        return {"key_time": self.time, "key_id": self.id}


class PageQuery(Struct):
    """Query of a list that is sorted by time."""

    cursor: Annotated[
        str,
        Meta(
            description="`next_cursor` of the previous page",
            extra_json_schema={"pattern": r"^([0-9]{1,16}_[A-Za-z0-9_-]{1,64})?$"},
        ),
    ] = ""

    def key(self) -> PageKey:
        """Raises ValidationError."""
        if not self.cursor:
            return PageKey()
        match = _CURSOR.fullmatch(self.cursor)
        if match is None:
            raise invalid_cursor()
        return PageKey(_EPOCH + timedelta(microseconds=int(match[1])), match[2])


def paged(
    response: type[Any], *, limit: int = 20, query: type[Any] = PageQuery
) -> Callable[[View], View]:
    """Declare a route that reads a page of `response`: passes `limit` and `query_args`, a `query`.

    `limit` is the default of the parameter.
    """

    def decorate(view: View) -> View:
        documented = document_response(response)(view)
        return query_integers(limit=limit)(validate_querystring(query)(documented))

    return decorate


def invalid_cursor() -> ValidationError:
    return ValidationError.of("cursor", "must be the next_cursor of a page")


def time_text(column: LiteralString) -> LiteralString:
    """An SQL expression: the time as the API writes times, `2026-01-31T12:34:56.789Z`."""
    return f"""to_char({column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""


def newest_first(
    items: LiteralString,
    item: LiteralString,
    source: LiteralString,
    *,
    time: LiteralString,
    id: LiteralString,
    parent: LiteralString = "true",
) -> LiteralString:
    """A statement that builds a page sorted by time, then by id.

    `item` is the JSON of one item, `source` a FROM and a WHERE clause. `time` and `id` are the sort
    key. Parameters: `limit`, and those of `PageKey`. See `page_as_json` for `items` and `parent`.
    """
    key = f'({id})::text collate "C"'
    rows: LiteralString = f"""
select {item} as item,
  (extract(epoch from {time}) * 1000000)::bigint || '_' || {id} as cursor
{source} and (
  %(key_time)s::timestamptz is null or ({time}, {key}) < (%(key_time)s::timestamptz, %(key_id)s)
)
order by {time} desc, {key} desc"""  # noqa: S608 - constants
    return page_as_json(items, rows, parent=parent)


def page_as_json(
    items: LiteralString, rows: LiteralString, *, parent: LiteralString = "true"
) -> LiteralString:
    """A statement that builds a page from sorted `rows` of `item` (JSON) and `cursor` (text).

    `items` is the name of the list in the response. The statement returns no row when `parent`, a
    condition that uses no column of `rows`, is false. Parameter: `limit`. One more row than that is
    read, to know whether another page follows.
    """
    return f"""
select json_build_object(
  '{items}',
  coalesce(json_agg(item order by position) filter (where position <= %(limit)s), '[]'),
  'next_cursor',
  case when count(*) > %(limit)s then max(cursor) filter (where position = %(limit)s) end
)::text
from (
  select item, cursor, row_number() over () as position
  from ({rows} limit %(limit)s + 1) as sorted
) as page
having {parent}"""  # noqa: S608 - constants
