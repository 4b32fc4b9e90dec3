"""Pages of a user's rows as JSON built by PostgreSQL.

No transaction spans the export, so a slow reader holds no connection. A row that changes during
the export appears in its old or its new state.
"""

from __future__ import annotations

from typing import Final, LiteralString
from uuid import UUID

from attrs import field, frozen

from cookcam.database import SERVICE, Database
from cookcam.features.accounts.personal_data import PersonalRows

PAGE_SIZE: Final = 100


@frozen
class ExportedRow:
    """`body` is a JSON object, `at` the key after which the next page starts."""

    at: str
    body: str = field(repr=False)


@frozen
class ExportStore:
    database: Database = field(repr=False)

    async def page(self, rows: PersonalRows, user_id: UUID, after: str | None) -> list[ExportedRow]:
        """The next rows in key order; an empty list at the end."""
        return await self.database.fetch_all_as(
            SERVICE,
            ExportedRow,
            _statement(rows),
            user_id=user_id,
            after=after,
            hidden=list(rows.hidden),
            page=PAGE_SIZE,
        )


def _statement(rows: PersonalRows) -> LiteralString:
    key: LiteralString = f'({rows.key}) collate "C"'
    return f"""
select {key} as at, (to_jsonb(t) - %(hidden)s::text[])::text as body
from public.{rows.table} t
where t.{rows.column} = %(user_id)s and {rows.where}
  and (%(after)s::text is null or {key} > %(after)s)
order by {key} limit %(page)s"""  # noqa: S608 - constants
