"""Translates psycopg's errors to the errors of `cookcam.errors`.

The SQLSTATE decides, by the table of `cookcam.errors`. Without a SQLSTATE: a connection that
failed, was lost or was closed is `ServiceUnavailable`, or `ServiceOverloaded` at the server's
connection limit; text that PostgreSQL cannot store is `InvalidInput`.
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
UNSTORABLE_TEXT = frozenset({"22P05", "22021"})  # \u0000 in JSON; bytes that are not UTF-8

# For a rejected connection libpq reports no SQLSTATE, only the server's message.
CONNECTION_LIMIT_MESSAGES = (
    "too many clients",
    "too many connections",
    "remaining connection slots",
)


@contextmanager
def translate_errors() -> Generator[None]:
    """Translate psycopg's errors in the block to an `AppError`, with the original as its cause."""
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
            at_limit = any(message in str(error) for message in CONNECTION_LIMIT_MESSAGES)
            return ServiceOverloaded() if at_limit else ServiceUnavailable()
    elif code.startswith(CONNECTION_EXCEPTION):
        return ServiceUnavailable()
    elif code in UNSTORABLE_TEXT:
        return InvalidInput()
    return from_database_code(code)
