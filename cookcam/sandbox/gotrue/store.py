"""The fake's rows: users in `auth.users`, sessions and refresh tokens in schema `sandbox`.

psycopg in worker threads, with connections of its own: the fake shares nothing with the
program it stands beside, so neither can starve or break the other.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString, TypeVar, cast
from uuid import UUID

import psycopg
import trio
from attrs import define, field, frozen
from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

T = TypeVar("T")

_SCHEMA = """
select pg_advisory_xact_lock(hashtext('cookcam.sandbox.gotrue'));
create schema if not exists sandbox;
create table if not exists sandbox.sessions (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references auth.users (id) on delete cascade,
    created_at timestamptz not null default now()
);
alter table sandbox.sessions add column if not exists method text not null default 'password';
create index if not exists sessions_user on sandbox.sessions (user_id);
create table if not exists sandbox.refresh_tokens (
    id bigint generated always as identity primary key,
    token text not null unique,
    parent text,
    session_id uuid not null references sandbox.sessions (id) on delete cascade,
    revoked boolean not null default false,
    updated_at timestamptz not null default now()
);
create index if not exists refresh_tokens_session on sandbox.refresh_tokens (session_id);
"""

_USER = """
select id, email, encrypted_password, email_confirmed_at, last_sign_in_at,
       raw_user_meta_data as user_metadata, raw_app_meta_data as app_metadata,
       banned_until, created_at, updated_at
  from auth.users
"""

_SELECT_REFRESH = """
select token, parent, session_id, revoked,
       extract(epoch from clock_timestamp() - updated_at)::float8 as age
  from sandbox.refresh_tokens
"""

_REVOKE = """
update sandbox.refresh_tokens set revoked = true, updated_at = clock_timestamp()
 where not revoked
"""


@frozen
class UserRow:
    """A row of `auth.users`."""

    id: UUID
    email: str | None
    encrypted_password: str | None
    email_confirmed_at: datetime | None
    last_sign_in_at: datetime | None
    user_metadata: dict[str, Any] | None
    app_metadata: dict[str, Any] | None
    banned_until: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def banned(self) -> bool:
        return self.banned_until is not None and self.banned_until > datetime.now(UTC)


@frozen
class SessionRow:
    """`method` is how its owner signed in: `password`, or `otp` by the link of a mail."""

    id: UUID
    user_id: UUID
    created_at: datetime
    method: str


@frozen
class RefreshTokenRow:
    token: str
    parent: str | None
    session_id: UUID
    revoked: bool
    age: float  # seconds since it was made or revoked


@frozen
class Rows:
    """The statements, inside one transaction."""

    connection: psycopg.Connection[Any]

    def user(self, user_id: UUID) -> UserRow | None:
        return self._user(_USER + "where id = %s", user_id)

    def user_by_email(self, email: str) -> UserRow | None:
        return self._user(_USER + "where lower(email) = %s", email)

    def add_user(
        self,
        email: str,
        encrypted_password: str,
        user_metadata: dict[str, Any],
        app_metadata: dict[str, Any],
        *,
        confirmed: bool,
    ) -> UserRow | None:
        """The new user, or None when the address is taken."""
        with self.connection.cursor(row_factory=scalar_row) as cursor:
            user_id = cursor.execute(
                """
                insert into auth.users (email, encrypted_password, raw_user_meta_data,
                                        raw_app_meta_data, email_confirmed_at)
                values (%s, %s, %s, %s, case when %s then now() end)
                on conflict do nothing returning id
                """,
                (email, encrypted_password, Jsonb(user_metadata), Jsonb(app_metadata), confirmed),
            ).fetchone()
        return self.user(user_id) if user_id is not None else None

    def confirm(self, user_id: UUID) -> None:
        self.connection.execute(
            "update auth.users set email_confirmed_at = now() where id = %s", (user_id,)
        )

    def ban(self, user_id: UUID, duration: timedelta | None) -> UserRow | None:
        """Ban for `duration` from now, or lift the ban; None when there is no such user."""
        self.connection.execute(
            "update auth.users set banned_until = now() + %s where id = %s", (duration, user_id)
        )
        return self.user(user_id)

    def delete_user(self, user_id: UUID) -> bool:
        deleted = self.connection.execute("delete from auth.users where id = %s", (user_id,))
        return deleted.rowcount == 1

    def set_password(self, user_id: UUID, encrypted_password: str) -> None:
        self.connection.execute(
            "update auth.users set encrypted_password = %s, updated_at = now() where id = %s",
            (encrypted_password, user_id),
        )

    def add_session(self, user_id: UUID, method: str = "password") -> SessionRow:
        self.connection.execute(
            "update auth.users set last_sign_in_at = now() where id = %s", (user_id,)
        )
        with self.connection.cursor(row_factory=class_row(SessionRow)) as cursor:
            row = cursor.execute(
                "insert into sandbox.sessions (user_id, method) values (%s, %s)"
                " returning id, user_id, created_at, method",
                (user_id, method),
            ).fetchone()
        return cast(SessionRow, row)

    def session(self, session_id: UUID) -> SessionRow | None:
        """The session, locked to the end of the transaction: its tokens may be about to change."""
        with self.connection.cursor(row_factory=class_row(SessionRow)) as cursor:
            return cursor.execute(
                "select id, user_id, created_at, method from sandbox.sessions"
                " where id = %s for update",
                (session_id,),
            ).fetchone()

    def end_sessions(self, user_id: UUID, session_id: UUID | None, scope: str) -> None:
        """End a user's sessions: `local` this one, `others` all but it, `global` all."""
        self.connection.execute(
            """
            delete from sandbox.sessions
             where user_id = %(user)s
               and case %(scope)s when 'local' then id = %(session)s
                                  when 'others' then id <> %(session)s
                                  else true end
            """,
            {"user": user_id, "session": session_id, "scope": scope if session_id else "global"},
        )

    def add_refresh_token(self, token: str, session_id: UUID, parent: str | None) -> None:
        self.connection.execute(
            "insert into sandbox.refresh_tokens (token, session_id, parent) values (%s, %s, %s)",
            (token, session_id, parent),
        )

    def refresh_token(self, token: str) -> RefreshTokenRow | None:
        return self._refresh_token(_SELECT_REFRESH + "where token = %s", token)

    def active_refresh_token(self, session_id: UUID) -> RefreshTokenRow | None:
        """The newest token of a session that has not been used."""
        return self._refresh_token(
            _SELECT_REFRESH + "where session_id = %s and not revoked order by id desc limit 1",
            session_id,
        )

    def revoke(self, token: str) -> None:
        self.connection.execute(_REVOKE + "and token = %s", (token,))

    def revoke_family(self, session_id: UUID) -> None:
        self.connection.execute(_REVOKE + "and session_id = %s", (session_id,))

    def _user(self, query: LiteralString, value: object) -> UserRow | None:
        with self.connection.cursor(row_factory=class_row(UserRow)) as cursor:
            return cursor.execute(query, (value,)).fetchone()

    def _refresh_token(self, query: LiteralString, value: object) -> RefreshTokenRow | None:
        with self.connection.cursor(row_factory=class_row(RefreshTokenRow)) as cursor:
            return cursor.execute(query, (value,)).fetchone()


@define
class Store:
    """A few connections; each `run` is one transaction in a worker thread."""

    url: str
    _idle: list[psycopg.Connection[Any]] = field(factory=list[psycopg.Connection[Any]], init=False)
    _limit: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(4), init=False)

    async def run(self, work: Callable[[Rows], T]) -> T:
        """Commit and return the result of `work`. Raises psycopg.Error, and what `work` raises."""
        return await trio.to_thread.run_sync(self._run, work, limiter=self._limit)

    async def create_schema(self) -> None:
        await self.run(lambda rows: rows.connection.execute(_SCHEMA) and None)

    async def aclose(self) -> None:
        while self._idle:
            await trio.to_thread.run_sync(self._idle.pop().close)

    def _run(self, work: Callable[[Rows], T]) -> T:
        connection = self._connection()
        try:
            with connection.transaction():
                result = work(Rows(connection))
        except psycopg.Error:
            connection.close()
            raise
        except BaseException:
            self._idle.append(connection)
            raise
        self._idle.append(connection)
        return result

    def _connection(self) -> psycopg.Connection[Any]:
        """An idle connection that answers, or a new one: the database may have restarted."""
        while self._idle:
            connection = self._idle.pop()
            try:
                connection.execute("")
            except psycopg.Error:
                connection.close()
            else:
                return connection
        return psycopg.connect(
            self.url, autocommit=True, connect_timeout=5, options="-c statement_timeout=10000"
        )
