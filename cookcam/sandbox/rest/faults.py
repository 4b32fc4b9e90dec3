"""The errors of the data API: those of PostgREST itself, and those of PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import psycopg
from attrs import define

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
