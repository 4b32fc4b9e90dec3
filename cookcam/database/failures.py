"""psycopg's errors as the errors a client may see.

The SQLSTATE decides, by the table of `cookcam.errors` (`spec/http-api-core.md` §3.12). What has
none is decided here: a connection that could not be made, was lost or was closed is the database
being away, unless it says that it has no room; text that PostgreSQL cannot hold is the caller's
input.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import psycopg

from cookcam.errors import (
    AppError,
    InvalidInput,
    ServiceOverloaded,
    ServiceUnavailable,
    from_database_code,
)

CONNECTION_EXCEPTION = "08"
UNSTORABLE_TEXT = frozenset({"22P05", "22021"})  # \u0000 in JSON; bytes that are no UTF-8

# libpq keeps no SQLSTATE of a connection that was refused, only the server's words.
NO_ROOM = ("too many clients", "too many connections", "remaining connection slots")


@contextmanager
def translated() -> Generator[None]:
    """Raise what psycopg raises in the block as an `AppError`, with the original as its cause."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error) from error


def translate(error: psycopg.Error) -> AppError:
    code = error.sqlstate
    if code is None:
        if isinstance(error, psycopg.DataError):
            return InvalidInput()
        if isinstance(error, psycopg.OperationalError):
            full = any(words in str(error) for words in NO_ROOM)
            return ServiceOverloaded() if full else ServiceUnavailable()
    elif code.startswith(CONNECTION_EXCEPTION):
        return ServiceUnavailable()
    elif code in UNSTORABLE_TEXT:
        return InvalidInput()
    return from_database_code(code)
