"""Reading what is held of a person, a page at a time, as JSON that PostgreSQL makes.

No transaction spans the export: whoever reads it slowly holds no connection. A row that changes
meanwhile is shown as it was or as it is.
"""

from __future__ import annotations

from typing import Final, LiteralString
from uuid import UUID

from attrs import field, frozen

from cookcam.database import SERVICE, Database
from cookcam.features.accounts.personal_data import Holding

PAGE: Final = 100


@frozen
class ExportedRow:
    """`body` is a JSON object; `at` is where the next page begins."""

    at: str
    body: str = field(repr=False)


@frozen
class ExportStore:
    database: Database = field(repr=False)

    async def page(self, holding: Holding, user_id: UUID, after: str | None) -> list[ExportedRow]:
        """The next rows in the order of the holding's key; none at the end."""
        return await self.database.fetch_all_as(
            SERVICE,
            ExportedRow,
            _statement(holding),
            user_id=user_id,
            after=after,
            hidden=list(holding.hidden),
            page=PAGE,
        )


def _statement(holding: Holding) -> LiteralString:
    key: LiteralString = f'({holding.key}) collate "C"'
    return f"""
select {key} as at, (to_jsonb(t) - %(hidden)s::text[])::text as body
from public.{holding.table} t
where t.{holding.column} = %(user_id)s and {holding.where}
  and (%(after)s::text is null or {key} > %(after)s)
order by {key} limit %(page)s"""  # noqa: S608 - constants
