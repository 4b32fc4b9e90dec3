"""Reads that a session of PostgreSQL parses and plans once.

Planning a long read takes PostgreSQL about half as long as executing it. So the first read of a
statement on a connection sends `PREPARE` with it, and later reads send `EXECUTE`, as text in the
message that sets the actor. From the sixth execution on, PostgreSQL keeps one plan, unless plans
for the actual parameters are cheaper.

Prepared statements belong to a session of the server, and behind a transaction pooler the next
message may reach another session. The name of a statement is a hash of its text, so it means the
same in every session. A session that does not have it returns an error of its own; then the read
is sent again as it is, and the connection prepares no more statements.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, LiteralString, cast
from uuid import UUID

from attrs import define, field, frozen
from psycopg import errors as e

MAX_PREPARED: Final = 200
"""Prepared statements of one connection."""

_PLACEHOLDER = re.compile(r"%%|%\((\w+)\)s")
_TYPES: Final[Mapping[type, str]] = {
    bool: "boolean",
    float: "double precision",
    UUID: "uuid",
    datetime: "timestamptz",
    date: "date",
    Decimal: "numeric",
}


@frozen
class PreparedStatement:
    """`prepare` is a statement without parameters; `execute` has psycopg's placeholders."""

    name: str
    prepare: LiteralString
    execute: LiteralString


@define(eq=False)
class PreparedStatements:
    """The prepared statements of the session of one connection."""

    _names: set[str] = field(factory=set[str], init=False)
    _rejected: set[str] = field(factory=set[str], init=False)
    _supported: bool = field(default=True, init=False)

    def find(
        self, statement: str, role: str, params: Mapping[str, Any]
    ) -> PreparedStatement | None:
        """The prepared form of a read of `role`. None if it is to be sent as it is."""
        if not self._supported or not params:
            return None
        types = tuple(_type_of(value) for value in params.values())
        prepared = _prepared(statement, role, tuple(params), types)
        known = len(self._names) + len(self._rejected)
        if prepared.name in self._rejected or (
            known >= MAX_PREPARED and prepared.name not in self._names
        ):
            return None
        return prepared

    def __contains__(self, prepared: PreparedStatement) -> bool:
        """Whether the session has the statement, so that `execute` alone is enough."""
        return prepared.name in self._names

    def add(self, prepared: PreparedStatement) -> None:
        self._names.add(prepared.name)

    def explains(self, prepared: PreparedStatement, error: e.Error) -> bool:
        """Whether the error comes from preparing. Then the read is to be sent again.

        An error of the statement itself is raised again by that second read.
        """
        if isinstance(error, e.InvalidSqlStatementName):
            self._supported = False
        elif isinstance(error, e.DuplicatePreparedStatement):
            self._names.add(prepared.name)
        elif isinstance(error, e.FeatureNotSupported) and prepared in self:
            # A migration has changed the columns of the result.
            self._names.discard(prepared.name)
            self._rejected.add(prepared.name)
        elif isinstance(error, e.ProgrammingError) and prepared not in self:
            # The type of a parameter cannot be inferred.
            self._rejected.add(prepared.name)
        else:
            return False
        return True


def _type_of(value: object) -> str:
    """The type of a parameter; "unknown" is inferred from the statement, as for a literal."""
    if type(value) is int:
        return "integer" if -(2**31) <= value < 2**31 else "bigint"
    return _TYPES.get(type(value), "unknown")


@lru_cache(maxsize=1000)
def _prepared(
    statement: str, role: str, names: tuple[str, ...], types: tuple[str, ...]
) -> PreparedStatement:
    """A statement is prepared for each role: policies are part of its plan."""
    used = [name for name in names if f"%({name})s" in statement]
    numbers = {name: f"${number}" for number, name in enumerate(used, 1)}
    text = _PLACEHOLDER.sub(lambda found: "%" if found[0] == "%%" else numbers[found[1]], statement)
    declared = ", ".join(kind for name, kind in zip(names, types, strict=True) if name in numbers)
    signature = f"({declared})" if used else ""
    name = "r_" + sha256(f"{role}{signature}{text}".encode()).hexdigest()[:24]
    values = ", ".join(f"%({name})s" for name in used)
    return PreparedStatement(
        name,
        cast("LiteralString", f"prepare {name} {signature} as {text}"),
        cast("LiteralString", f"execute {name} ({values})" if used else f"execute {name}"),
    )
