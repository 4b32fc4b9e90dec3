"""The SQL of the inbox, under the role of its owner: row-level security leaves the owner's rows."""

from __future__ import annotations

from uuid import UUID

from attrs import frozen

from cookcam.database import Database
from cookcam.errors import NotFound
from cookcam.features.pages import PageKey, newest_first, time_text
from cookcam.identity import Identity

PAGE = newest_first(
    "notifications",
    f"""json_build_object(
  'id', n.id,
  'type', n.type,
  'title', n.title,
  'body', n.body,
  'data', n.data,
  'read', n.read_at is not null,
  'created_at', {time_text("n.created_at")}
)""",
    """from public.notification_logs n
where n.user_id = %(reader)s and (n.read_at is null or not %(unread)s)""",
    time="n.created_at",
    id="n.id",
)

UNREAD = """
select json_build_object('unread', count(*))::text
from public.notification_logs
where user_id = %(reader)s and channel = 'app' and read_at is null"""

# Returns whether it was unread; no row without the notification.
READ = """
update public.notification_logs n set read_at = coalesce(n.read_at, now())
from (
  select id, read_at from public.notification_logs
  where user_id = %(reader)s and id = %(id)s for no key update
) as before
where n.id = before.id
returning (before.read_at is null)::integer"""

READ_ALL = """
update public.notification_logs set read_at = now()
where user_id = %(reader)s and channel = 'app' and read_at is null"""

DELETE = "delete from public.notification_logs where user_id = %(reader)s and id = %(id)s"

DELETE_ALL = """
delete from public.notification_logs where user_id = %(reader)s and channel = 'app'"""


@frozen
class InboxStore:
    database: Database

    async def page(self, reader: Identity, key: PageKey, limit: int, *, unread: bool) -> bytes:
        """A page of the inbox as JSON, newest first; with `unread` only what is unread."""
        return await self.database.fetch_json_as(
            reader,
            PAGE,
            reader=reader.user_id,
            unread=unread,
            limit=limit,
            **key.parameters(),
        )

    async def unread(self, reader: Identity) -> bytes:
        """The number of unread notifications as JSON."""
        return await self.database.fetch_json_as(reader, UNREAD, reader=reader.user_id)

    async def mark_read(self, reader: Identity, notification_id: UUID) -> int:
        """Returns 1, or 0 if it was read already. Raises NotFound."""
        async with self.database.transaction_as(reader) as tx:
            try:
                return await tx.fetch_value(READ, reader=reader.user_id, id=notification_id)
            except NotFound:
                raise notification_not_found() from None

    async def mark_all_read(self, reader: Identity) -> int:
        """Returns how many were unread."""
        async with self.database.transaction_as(reader) as tx:
            return await tx.execute(READ_ALL, reader=reader.user_id)

    async def delete(self, reader: Identity, notification_id: UUID) -> None:
        """Raises NotFound. A notification that was not sent yet is not sent any more."""
        async with self.database.transaction_as(reader) as tx:
            if not await tx.execute(DELETE, reader=reader.user_id, id=notification_id):
                raise notification_not_found()

    async def delete_all(self, reader: Identity) -> int:
        """Returns how many were deleted."""
        async with self.database.transaction_as(reader) as tx:
            return await tx.execute(DELETE_ALL, reader=reader.user_id)


def notification_not_found() -> NotFound:
    return NotFound("Notification not found", error="Notification not found")
