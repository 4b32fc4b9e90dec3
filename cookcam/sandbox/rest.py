"""A fake of Supabase's data API (PostgREST) for what the shipped app reads and writes directly.

    async with open_gotrue(url, include=partial(include_rest, database_url=url)) as gotrue:
        ...                                    # {gotrue.url}/rest/v1/...

Served are `TABLES` and `FUNCTIONS`, under the role and claims of the token: the grants and row
policies are those of the schema. Source of the protocol: the documentation of PostgREST 12, as the
`supabase-js` client uses it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, LiteralString, cast

import jwt
import orjson
import psycopg
import trio
from attrs import define, frozen
from psycopg import sql
from quart import Response, request
from quart_trio import QuartTrio

from cookcam.sandbox.gotrue.keys import SigningKey
from cookcam.sandbox.serving import bearer_token

BASE = "/rest/v1"
OBJECT = "application/vnd.pgrst.object+json"
"""The client asks for one row as an object, not as a list of one."""

STATUSES: Final[Mapping[str, int]] = {"42501": 403, "23503": 409, "23505": 409, "42P01": 404}
"""HTTP status by SQLSTATE; any other is a 400. 42501 is a 401 for a guest."""


@define(slots=False, eq=False)
class RestFault(Exception):
    """An answer that is an error."""

    status: int
    code: str
    message: str
    details: str | None = None
    hint: str | None = None

    def body(self) -> dict[str, str | None]:
        return {
            "code": self.code,
            "details": self.details,
            "hint": self.hint,
            "message": self.message,
        }


def of_database(error: psycopg.Error, *, guest: bool) -> RestFault:
    code = error.sqlstate or "XX000"
    status = 401 if code == "42501" and guest else STATUSES.get(code, 400)
    about = error.diag
    return RestFault(
        status, code, about.message_primary or "", about.message_detail, about.message_hint
    )


# Statements

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


# Routes


@frozen
class Caller:
    """The database role and the claims of a token."""

    role: str
    claims: dict[str, Any]

    @property
    def is_guest(self) -> bool:
        return self.role == "anon"


def include_rest(app: QuartTrio, key: SigningKey, *, database_url: str) -> None:
    """Adds the routes of the data API to `app`. `database_url` is of a role that may take the roles
    `anon`, `authenticated` and `service_role`."""

    @app.errorhandler(RestFault)
    async def on_fault(fault: RestFault) -> Response:
        await request.get_data()  # or the next request on this connection would wait behind it
        return _json(orjson.dumps(fault.body()), fault.status)

    async def run(*statements: Statement) -> list[Any]:
        """The first value of each statement, in one transaction as the caller."""
        caller = _caller(key)
        try:
            return await trio.to_thread.run_sync(_run, database_url, caller, statements)
        except psycopg.Error as error:
            raise of_database(error, guest=caller.is_guest) from None

    @app.route(f"{BASE}/<table>", methods=["GET", "HEAD"])
    async def read(table: str) -> Response:
        query = Query.of(table, request.args.items(multi=True))
        counted = "count=exact" in request.headers.get("Prefer", "")
        statements = [query.rows(), *([query.count()] if counted else [])]
        encoded, *counts = await run(*statements)
        response = _rows(encoded)
        found = len(orjson.loads(encoded))
        first = f"0-{found - 1}" if found else "*"
        response.headers["Content-Range"] = f"{first}/{counts[0] if counts else '*'}"
        if counts and found < counts[0]:
            response.status_code = 206
        return response

    @app.post(f"{BASE}/<table>")
    async def insert(table: str) -> Response:
        rows = await _body()
        rows = cast("list[Any]", rows if isinstance(rows, list) else [rows])
        columns = sorted({name for row in rows for name in row})
        return await write(_target(table).insert(json.dumps(rows), columns), 201, 201)

    @app.patch(f"{BASE}/<table>")
    async def update(table: str) -> Response:
        row = await _body()
        return await write(_target(table).update(json.dumps(row), sorted(row)), 200, 204)

    async def write(statement: Statement, status: int, status_of_minimal: int) -> Response:
        [encoded] = await run(statement)
        if _returns_rows():
            return _rows(encoded, status)
        return Response(b"", status=status_of_minimal)

    @app.post(f"{BASE}/rpc/<function>")
    async def invoke(function: str) -> Response:
        statement, params, returns = call(function, await _body())
        [encoded] = await run((statement, params))
        return _json(encoded.encode()) if returns else Response(b"", status=204)


def _returns_rows() -> bool:
    return "return=representation" in request.headers.get("Prefer", "")


def _target(table: str) -> Query:
    """The rows that a write concerns, with the columns it returns."""
    query = Query.of(table, request.args.items(multi=True))
    return query if _returns_rows() else query.minimal()


def _run(database_url: str, caller: Caller, statements: tuple[Statement, ...]) -> list[Any]:
    values: list[Any] = []
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true)",
            (caller.role, json.dumps(caller.claims)),
        )
        for statement, params in statements:
            row = connection.execute(statement, params).fetchone()
            values.append(row[0] if row else None)
    return values


def _caller(key: SigningKey) -> Caller:
    """The caller by the bearer token, or by the `apikey` without one. Raises RestFault."""
    if "apikey" not in request.headers:
        raise RestFault(401, "", "No API key found in request")
    try:
        claims = key.verify(bearer_token() or request.headers["apikey"])
    except jwt.ExpiredSignatureError:
        raise RestFault(401, "PGRST303", "JWT expired") from None
    except jwt.InvalidTokenError:
        raise RestFault(401, "PGRST301", "No suitable key or wrong key type") from None
    role = claims.get("role")
    if role not in ("anon", "authenticated", "service_role"):
        raise RestFault(401, "PGRST301", "the token has no known role")
    return Caller(role, claims)


def _rows(encoded: str, status: int = 200) -> Response:
    """A JSON array; with `Accept` for an object, its only row. Raises RestFault (406)."""
    if OBJECT not in request.headers.get("Accept", ""):
        return _json(encoded.encode(), status)
    rows = orjson.loads(encoded)
    if len(rows) != 1:
        raise RestFault(
            406,
            "PGRST116",
            "Cannot coerce the result to a single JSON object",
            f"The result contains {len(rows)} rows",
        )
    return _json(orjson.dumps(rows[0]), status, OBJECT)


def _json(content: bytes, status: int = 200, kind: str = "application/json") -> Response:
    return Response(content, status=status, content_type=f"{kind}; charset=utf-8")


async def _body() -> Any:
    try:
        body: Any = orjson.loads(await request.get_data() or b"{}")
    except orjson.JSONDecodeError:
        raise RestFault(400, "PGRST102", "Empty or invalid json") from None
    rows = cast("list[Any]", body if isinstance(body, list) else [body])
    if not all(isinstance(row, dict) for row in rows):
        raise RestFault(400, "PGRST102", "All objects must be objects")
    return cast("Any", body)
