"""SQL of the requests of the data API: filters, columns, order, inserts, updates, calls."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, LiteralString

from attrs import frozen
from psycopg import sql

from cookcam.sandbox.rest.faults import RestFault

TABLES: Final = ("users", "user_streaks", "daily_cooks")
FUNCTIONS: Final[Mapping[str, bool]] = {"update_user_streak": False, "use_freeze_token": True}
"""Whether the function returns a value."""

OPERATORS: Final[Mapping[str, LiteralString]] = {
    "eq": "=",
    "gt": ">",
    "gte": ">=",
    "lt": "<",
    "lte": "<=",
}
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_NOT_FILTERS: Final = ("select", "order", "limit")

Statement = tuple[sql.Composed, list[Any]]


@frozen
class Query:
    """A request for rows. `filters` are `(column, "op.value")`."""

    table: str
    columns: Sequence[str]
    filters: Sequence[tuple[str, str]]
    order: str = ""
    limit: int | None = None

    @classmethod
    def of(cls, table: str, args: Iterable[tuple[str, str]]) -> Query:
        """Raises RestFault for an unknown table or a parameter this fake does not know."""
        if table not in TABLES:
            raise RestFault(
                404, "PGRST205", f"Could not find the table 'public.{table}' in the schema cache"
            )
        given = list(args)
        single = dict(given)
        try:
            limit = int(single["limit"]) if "limit" in single else None
        except ValueError:
            raise RestFault(400, "PGRST100", "limit must be a number") from None
        return cls(
            table,
            [part.strip() for part in single.get("select", "*").split(",")],
            [(name, value) for name, value in given if name not in _NOT_FILTERS],
            single.get("order", ""),
            limit,
        )

    def rows(self) -> Statement:
        """The rows as one JSON array."""
        where, params = self._where()
        statement = sql.SQL(
            "select coalesce(json_agg(r), '[]')::text from (select {} from public.{} t{}{}{}) r"
        ).format(
            self._columns("t"),
            sql.Identifier(self.table),
            where,
            self._order(),
            sql.SQL("") if self.limit is None else sql.SQL(" limit {}").format(self.limit),
        )
        return statement, params

    def count(self) -> Statement:
        where, params = self._where()
        statement = sql.SQL("select count(*) from public.{} t{}")
        return statement.format(sql.Identifier(self.table), where), params

    def insert(self, body: str, columns: Sequence[str]) -> Statement:
        """Insert the rows of a JSON array; returns them as JSON."""
        names = sql.SQL(", ").join(_identifier(name) for name in columns)
        statement = sql.SQL(
            "with w as (insert into public.{table} as t ({names})"
            " select {names} from json_populate_recordset(null::public.{table}, %s)"
            " returning {returned}) select coalesce(json_agg(w), '[]')::text from w"
        ).format(table=sql.Identifier(self.table), names=names, returned=self._columns("t"))
        return statement, [body]

    def update(self, body: str, columns: Sequence[str]) -> Statement:
        """Update the filtered rows with a JSON object; returns them as JSON."""
        where, params = self._where()
        changes = sql.SQL(", ").join(
            sql.SQL("{0} = s.{0}").format(_identifier(name)) for name in columns
        )
        statement = sql.SQL(
            "with w as (update public.{table} as t set {changes}"
            " from (select * from json_populate_record(null::public.{table}, %s)) s{where}"
            " returning {returned}) select coalesce(json_agg(w), '[]')::text from w"
        ).format(
            table=sql.Identifier(self.table),
            changes=changes,
            where=where,
            returned=self._columns("t"),
        )
        return statement, [body, *params]

    def minimal(self) -> Query:
        """The same without returned columns: `return=minimal` needs no right to read."""
        return Query(self.table, ["1"], self.filters)

    def _columns(self, alias: LiteralString) -> sql.Composable:
        if list(self.columns) == ["1"]:
            return sql.SQL("1")
        if list(self.columns) == ["*"]:
            return sql.SQL(alias) + sql.SQL(".*")
        return sql.SQL(", ").join(
            sql.SQL(alias) + sql.SQL(".") + _identifier(name) for name in self.columns
        )

    def _where(self) -> tuple[sql.Composable, list[Any]]:
        conditions: list[sql.Composable] = []
        params: list[Any] = []
        for column, text in self.filters:
            condition, values = _condition(column, text)
            conditions.append(condition)
            params += values
        if not conditions:
            return sql.SQL(""), []
        return sql.SQL(" where ") + sql.SQL(" and ").join(conditions), params

    def _order(self) -> sql.Composable:
        if not self.order:
            return sql.SQL("")
        parts: list[sql.Composable] = []
        for part in self.order.split(","):
            name, *words = part.split(".")
            spelled: list[LiteralString] = [""]
            for word in words:
                if word not in ("asc", "desc", "nullsfirst", "nullslast"):
                    raise RestFault(400, "PGRST100", f"failed to parse order ({part})")
                spelled.append(word.replace("nulls", "nulls "))
            parts.append(sql.SQL("t.") + _identifier(name) + sql.SQL(" ".join(spelled)))
        return sql.SQL(" order by ") + sql.SQL(", ").join(parts)


def call(function: str, arguments: Mapping[str, Any]) -> tuple[sql.Composed, list[Any], bool]:
    """A call of a function by named arguments, and whether it returns a value."""
    if function not in FUNCTIONS:
        raise RestFault(
            404, "PGRST202", f"Could not find the function public.{function} in the schema cache"
        )
    named = sql.SQL(", ").join(_identifier(name) + sql.SQL(" => %s") for name in sorted(arguments))
    statement = (
        sql.SQL("select to_json(public.{}({}))::text")
        if FUNCTIONS[function]
        else (sql.SQL("select 'null' from public.{}({})"))
    )
    values = [arguments[name] for name in sorted(arguments)]
    return statement.format(sql.Identifier(function), named), values, FUNCTIONS[function]


def _condition(column: str, text: str) -> tuple[sql.Composable, list[Any]]:
    operator, dot, value = text.partition(".")
    name = sql.SQL("t.") + _identifier(column)
    if dot and operator in OPERATORS:
        return name + sql.SQL(f" {OPERATORS[operator]} %s"), [value]
    raise RestFault(400, "PGRST100", f'"failed to parse filter ({text})"')


def _identifier(name: str) -> sql.Identifier:
    if not _NAME.fullmatch(name):
        raise RestFault(400, "PGRST100", f"failed to parse column ({name})")
    return sql.Identifier(name)
