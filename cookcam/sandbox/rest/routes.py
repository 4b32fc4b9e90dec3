"""The HTTP face of the fake: paths, headers and bodies of the data API behind the gateway."""

from __future__ import annotations

import json
from typing import Any, cast

import jwt
import orjson
import psycopg
import trio
from attrs import frozen
from quart import Response, request
from quart_trio import QuartTrio

from cookcam.sandbox.gotrue.keys import SigningKey
from cookcam.sandbox.rest.faults import RestFault, of_database
from cookcam.sandbox.rest.statements import Query, Statement, call
from cookcam.sandbox.serving import bearer_token

BASE = "/rest/v1"
OBJECT = "application/vnd.pgrst.object+json"
"""The client asks for one row as an object, not as a list of one."""


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
