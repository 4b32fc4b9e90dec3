"""The SQL of cooking sessions.

Only the server may write the live tables: these statements run as SERVICE and name their users.
Pages are read under the reader's role, whose policies hide private sessions of others.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import SERVICE, Database, Transaction
from cookcam.errors import Conflict, NotFound
from cookcam.features.pages import PageKey, newest_first, page_as_json, time_text
from cookcam.features.social.cooking.models import CookingSession, Message
from cookcam.identity import Identity

ACTIVE: LiteralString = """
select s.id, s.host_id, s.recipe_id, s.title, s.is_public, s.invite_code_hash, s.current_step,
  s.total_steps, s.seq, s.created_at,
  greatest(extract(epoch from now() - s.last_event_at), 0)::float8 as idle_for,
  array(
    select p.user_id from public.live_cooking_participants p
    where p.session_id = s.id and p.left_at is null
    order by p.user_id <> s.host_id, p.joined_at, p.user_id
  ) as participants,
  array(
    select p.user_id from public.live_cooking_participants p where p.session_id = s.id
  ) as admitted
from public.live_cooking_sessions s
where s.is_active"""

FIND: LiteralString = f"{ACTIVE} and s.id = %(session_id)s"

NEWEST: LiteralString = f"{ACTIVE} order by s.created_at desc limit %(limit)s"

OF_USER: LiteralString = f"""{ACTIVE} and exists (
  select from public.live_cooking_participants p
  where p.session_id = s.id and p.user_id = %(user_id)s and p.left_at is null
)
limit %(limit)s"""

INSERT = """
insert into public.live_cooking_sessions (
  id, host_id, recipe_id, title, is_public, invite_code_hash, total_steps, created_at
)
values (
  %(id)s, %(host_id)s, %(recipe_id)s, %(title)s, %(is_public)s, %(invite_code_hash)s,
  %(total_steps)s, %(created_at)s
)"""

# Unknown user ids are skipped silently: the host must not learn which accounts exist.
INVITE = """
insert into public.live_cooking_participants (session_id, user_id, joined_at, left_at)
select %(session_id)s, u.id, now(), now() from public.users u
where u.id = any(%(user_ids)s::uuid[])"""

JOIN = """
insert into public.live_cooking_participants (session_id, user_id)
values (%(session_id)s, %(user_id)s)
on conflict (session_id, user_id) do update set joined_at = now(), left_at = null"""

LEAVE = """
update public.live_cooking_participants set left_at = now()
where session_id = %(session_id)s and user_id = any(%(user_ids)s::uuid[]) and left_at is null"""

ADVANCE = """
update public.live_cooking_sessions set
  seq = %(seq)s,
  current_step = %(current_step)s,
  last_event_at = now(),
  is_active = %(is_active)s,
  ended_at = case when not %(is_active)s then now() end,
  end_reason = %(end_reason)s
where id = %(id)s and seq = %(expected)s and is_active"""

INSERT_MESSAGE = """
insert into public.live_cooking_messages (
  session_id, seq, user_id, message, message_type, created_at
)
values (%(session_id)s, %(seq)s, %(user_id)s, %(message)s, %(message_type)s, %(created_at)s)"""

# Limits are counted under a lock on the user's row, so two devices cannot pass a limit together.
LOCK_USER = "select from public.users where id = %(user_id)s for no key update"

COUNT_HOSTED = """
select count(*) from public.live_cooking_sessions where host_id = %(user_id)s and is_active"""

COUNT_JOINED = """
select count(*)
from public.live_cooking_participants p join public.live_cooking_sessions s on s.id = p.session_id
where p.user_id = %(user_id)s and p.left_at is null and s.is_active and s.host_id <> p.user_id"""

SUMMARY: LiteralString = f"""json_build_object(
  'id', s.id,
  'hostId', s.host_id,
  'hostName', u.name,
  'recipeId', s.recipe_id,
  'title', s.title,
  'isPublic', s.is_public,
  'currentStep', s.current_step,
  'totalSteps', s.total_steps,
  'participantCount', (
    select count(*) from public.live_cooking_participants p
    where p.session_id = s.id and p.left_at is null
  ),
  'participating', exists (
    select from public.live_cooking_participants p
    where p.session_id = s.id and p.user_id = %(reader)s and p.left_at is null
  ),
  'isActive', s.is_active,
  'createdAt', {time_text("s.created_at")},
  'endedAt', {time_text("s.ended_at")},
  'endReason', s.end_reason,
  'seq', s.seq
)"""  # noqa: S608 - constants

PUBLIC_SESSIONS = newest_first(
    "sessions",
    SUMMARY,
    """from public.live_cooking_sessions s join public.users u on u.id = s.host_id
where s.is_public and s.is_active""",
    time="s.created_at",
    id="s.id",
)

SESSIONS_OF_READER = newest_first(
    "sessions",
    SUMMARY,
    """from public.live_cooking_sessions s join public.users u on u.id = s.host_id
where s.id in (
  select p.session_id from public.live_cooking_participants p where p.user_id = %(reader)s
)""",
    time="s.created_at",
    id="s.id",
)

MESSAGES = page_as_json(
    "messages",
    f"""select json_build_object(
  'sessionId', m.session_id,
  'userId', m.user_id,
  'userName', u.name,
  'message', m.message,
  'messageType', m.message_type,
  'timestamp', {time_text("m.created_at")},
  'seq', m.seq
) as item, m.seq::text as cursor
from public.live_cooking_messages m left join public.users u on u.id = m.user_id
where m.session_id = %(session_id)s
  and (%(before)s::bigint is null or m.seq < %(before)s::bigint)
order by m.seq desc""",  # noqa: S608 - constants
    parent="exists (select from public.live_cooking_sessions where id = %(session_id)s)",
)


@frozen
class CookingStore:
    """Reads and writes active sessions; ended ones are found only by the pages of a user."""

    database: Database

    async def create(
        self, session: CookingSession, invited: Collection[UUID], *, at_most: int
    ) -> None:
        """Inserts a session. Raises Conflict when its host already has `at_most` active ones."""
        async with self.database.transaction() as tx:
            await _count(tx, COUNT_HOSTED, session.host_id, at_most)
            await tx.execute(
                INSERT,
                id=session.id,
                host_id=session.host_id,
                recipe_id=session.recipe_id,
                title=session.title,
                is_public=session.is_public,
                invite_code_hash=session.invite_code_hash,
                total_steps=session.total_steps,
                created_at=session.created_at,
            )
            await tx.execute(JOIN, session_id=session.id, user_id=session.host_id)
            if guests := [user for user in invited if user != session.host_id]:
                await tx.execute(INVITE, session_id=session.id, user_ids=guests)

    async def find(self, session_id: str) -> CookingSession | None:
        return await self.database.fetch_optional_as(
            SERVICE, CookingSession, FIND, session_id=session_id
        )

    async def active(self, limit: int) -> list[CookingSession]:
        """Active sessions, newest first."""
        return await self.database.fetch_all_as(SERVICE, CookingSession, NEWEST, limit=limit)

    async def of_user(self, user_id: UUID, limit: int) -> list[CookingSession]:
        """Active sessions that the user takes part in."""
        return await self.database.fetch_all_as(
            SERVICE, CookingSession, OF_USER, user_id=user_id, limit=limit
        )

    async def advance(
        self, before: CookingSession, after: CookingSession, message: Message | None = None
    ) -> bool:
        """Writes `after`. Returns False when the stored `seq` is no longer that of `before`.

        The conditional update on `seq` locks the row: a concurrent change waits, then fails.
        """
        async with self.database.transaction() as tx:
            return await _advance(tx, before, after, message)

    async def admit(
        self, before: CookingSession, after: CookingSession, user_id: UUID, *, at_most: int
    ) -> bool:
        """Writes a join, like `advance`.

        Raises Conflict when the user already takes part in `at_most` active sessions of others.
        """
        async with self.database.transaction() as tx:
            await _count(tx, COUNT_JOINED, user_id, at_most)
            return await _advance(tx, before, after, None)

    async def public_page(self, reader: Identity, key: PageKey, limit: int) -> bytes:
        """A page of the active public sessions as JSON, newest first."""
        return await self._page(reader, PUBLIC_SESSIONS, key, limit)

    async def own_page(self, reader: Identity, key: PageKey, limit: int) -> bytes:
        """A page, as JSON, of the sessions that the reader hosts, has joined or is invited to."""
        return await self._page(reader, SESSIONS_OF_READER, key, limit)

    async def messages(
        self, reader: Identity, session_id: str, before: int | None, limit: int
    ) -> bytes:
        """A page of a session's messages as JSON, newest first: those with a `seq` below `before`.

        Raises NotFound for a session that the reader may not see.
        """
        page = await self.database.fetch_optional_json_as(
            reader, MESSAGES, session_id=session_id, before=before, limit=limit
        )
        if page is None:
            raise NotFound("Cooking session not found", error="Cooking session not found")
        return page

    async def _page(
        self, reader: Identity, statement: LiteralString, key: PageKey, limit: int
    ) -> bytes:
        return await self.database.fetch_json_as(
            reader, statement, reader=reader.user_id, limit=limit, **key.parameters()
        )


async def _count(tx: Transaction, statement: LiteralString, user_id: UUID, at_most: int) -> None:
    await tx.execute(LOCK_USER, user_id=user_id)
    if await tx.fetch_value(statement, user_id=user_id) >= at_most:
        raise Conflict()


async def _advance(
    tx: Transaction, before: CookingSession, after: CookingSession, message: Message | None
) -> bool:
    moved = await tx.execute(
        ADVANCE,
        id=before.id,
        expected=before.seq,
        seq=after.seq,
        current_step=after.current_step,
        is_active=after.is_active,
        end_reason=after.end_reason,
    )
    if not moved:
        return False
    for user_id in after.participants:
        if user_id not in before.participants:
            await tx.execute(JOIN, session_id=after.id, user_id=user_id)
    if left := [user for user in before.participants if user not in after.participants]:
        await tx.execute(LEAVE, session_id=after.id, user_ids=left)
    if message is not None:
        await tx.execute(
            INSERT_MESSAGE,
            session_id=after.id,
            seq=after.seq,
            user_id=message.user_id,
            message=message.text,
            message_type=message.kind,
            created_at=message.sent_at,
        )
    return True
