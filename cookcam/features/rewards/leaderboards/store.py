"""The SQL of leaderboards, as SERVICE: callers may not read the XP of others by period."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from attrs import asdict, field, frozen

from cookcam.database import SERVICE, Database
from cookcam.features.pages import time_text
from cookcam.features.rewards.leaderboards.models import Board, Period, UserRank

_PAGE_AS_JSON: LiteralString = """
select json_build_object(
  'entries', (
    select coalesce(json_agg(
      json_build_object(
        'rank', b.rank, 'xp_total', b.xp_total, 'xp_gained', b.xp_gained,
        'movement', b.movement, 'recipes_cooked', b.recipes_cooked,
        'users', json_build_object(
          'id', b.user_id, 'name', b.name, 'level', b.level, 'avatar_url', b.avatar_url,
          'is_creator', b.is_creator, 'creator_tier', b.creator_tier
        )
      )
      order by b.rank
    ), '[]')::text
    from public."""

PAGE: LiteralString = f"""{_PAGE_AS_JSON}get_leaderboard_data(
      %(period)s, %(limit)s, %(friends_of)s::uuid, %(offset)s, %(country)s::text, %(around)s::uuid
    ) as b
  ),
  'updated_at', {time_text("now()")}
)"""

PAGE_OF_USERS: LiteralString = f"""{_PAGE_AS_JSON}leaderboard_entries(
      %(period)s, %(kind)s, %(users)s::uuid[], %(xp)s::integer[], %(skipped)s, null,
      %(country)s::text
    ) as b
  ),
  'updated_at', {time_text("now()")}
)"""

PLACE: LiteralString = """
select public.leaderboard_place(
  %(user_id)s, %(period)s, %(friends_of)s::uuid, %(country)s::text
)"""

COUNTRY: LiteralString = "select country from public.users where id = %(user_id)s"

COMPACT: LiteralString = "select public.compact_xp_ranks()"

RANK: LiteralString = """
select r.user_rank as rank, r.total_users, r.user_xp, r.period_xp
from public.get_user_rank(%(user_id)s, %(period)s) as r"""

TOTAL_XP: LiteralString = "select (select u.total_xp from public.users u where u.id = %(user_id)s)"

# The rows of users on the current boards, as `redis_store.py` stores them. `member` sorts like the
# order of a leaderboard among users with the same XP.
_CURRENT: LiteralString = """
current_boards as (
  select unit.period, dates.begins
  from unnest(array['daily', 'weekly', 'monthly', 'allTime']) as unit(period)
  cross join lateral public.period_dates(unit.period) as dates
),
board_rows as (
  select coalesce(json_agg(json_build_object('user', c.user_hash, 'rows', (
    select coalesce(json_object_agg(x.period, json_build_array(
      x.xp,
      encode(
        int4send(2147483647 - x.total_xp)
        || int8send((extract(epoch from x.reached_at) * 1000000)::bigint)
        || uuid_send(x.user_id),
        'hex'
      ),
      coalesce(x.country, '')
    )), '{}')
    from current_boards b join public.xp_periods x
      on x.user_id = c.user_id and x.period = b.period and x.begins = b.begins
  ))), '[]') as users
  from chosen c
)
select
  (select json_object_agg(b.period, b.begins) from current_boards b) as begins,
  pg_current_snapshot()::text as snapshot, now() as read_at,
  (select count(*) from chosen)::integer as many,
  (select max(c.user_id::text)::uuid from chosen c) as last_id,
  (select r.users::text from board_rows r) as users"""

CHANGED_USERS: LiteralString = f"""
with chosen as (
  select distinct c.user_id,
    coalesce(c.deleted_user_hash, public.user_hash(c.user_id)) as user_hash
  from public.xp_changes c
  where c.changed_in >= pg_snapshot_xmin(%(since)s::pg_snapshot)
    and not pg_visible_in_snapshot(c.changed_in, %(since)s::pg_snapshot)
  limit %(limit)s
),
{_CURRENT}"""  # noqa: S608 - constants

USERS_AFTER: LiteralString = f"""
with chosen as (
  select u.id as user_id, public.user_hash(u.id) as user_hash from public.users u
  where u.total_xp > 0 and (u.id > %(after)s::uuid or %(after)s::uuid is null)
  order by u.id limit %(limit)s
),
{_CURRENT}"""  # noqa: S608 - constants


@frozen
class BoardRows:
    """Rows of `many` users on the current boards, at `snapshot` (a `pg_snapshot` as text).

    `begins` has the date of each period's board. `users` is a JSON array of
    `{"user", "rows": {period: [xp, member, country]}}`, with the hash of the user's id; `last_id`
    is the highest id.
    """

    begins: dict[Period, str]
    snapshot: str
    read_at: datetime
    many: int
    last_id: UUID | None
    users: str = field(repr=False)


@frozen
class LeaderboardStore:
    database: Database

    async def page(
        self, board: Board, limit: int, offset: int, *, around: UUID | None = None
    ) -> dict[str, str]:
        """`{"entries", "updated_at"}` of a page, the entries as a JSON array. With `around` the
        page has that user in its middle, and the offset does not apply."""
        return await self.database.fetch_value_as(
            SERVICE, PAGE, **asdict(board), limit=limit, offset=offset, around=around
        )

    async def place(self, user_id: UUID, board: Board) -> int | None:
        """The place of a user on the board; None without XP in the period."""
        return await self.database.fetch_value_as(SERVICE, PLACE, user_id=user_id, **asdict(board))

    async def country(self, user_id: UUID) -> str | None:
        return await self.database.fetch_value_as(SERVICE, COUNTRY, user_id=user_id)

    async def page_of(
        self,
        board: Board,
        users: Sequence[UUID],
        xp: Sequence[int],
        skipped: int,
        *,
        is_around: bool,
    ) -> dict[str, str]:
        """`page` for the users in their order, with their XP in the period; `skipped` is the place
        of the first, minus 1."""
        kind = "around" if is_around else "global" if board.country is None else "country"
        return await self.database.fetch_value_as(
            SERVICE,
            PAGE_OF_USERS,
            period=board.period,
            kind=kind,
            users=list(users),
            xp=list(xp),
            skipped=skipped,
            country=board.country,
        )

    async def changed_since(self, snapshot: str, limit: int) -> BoardRows:
        """The rows of users changed by transactions that are not visible in the snapshot."""
        return await self.database.fetch_one_as(
            SERVICE, BoardRows, CHANGED_USERS, since=snapshot, limit=limit
        )

    async def users_after(self, user_id: UUID | None, limit: int) -> BoardRows:
        """The rows of users with XP, in the order of their ids."""
        return await self.database.fetch_one_as(
            SERVICE, BoardRows, USERS_AFTER, after=user_id, limit=limit
        )

    async def total_xp(self, user_id: UUID) -> int | None:
        """The lifetime XP; None for an unknown user."""
        return await self.database.fetch_value_as(SERVICE, TOTAL_XP, user_id=user_id)

    async def compact(self) -> int:
        """Sum up the counts of ranks; returns the number of rows written."""
        async with self.database.transaction() as tx:
            return await tx.fetch_value(COMPACT)

    async def rank(self, user_id: UUID, period: Period) -> UserRank | None:
        """None for an unknown user."""
        return await self.database.fetch_optional_as(
            SERVICE, UserRank, RANK, user_id=user_id, period=period
        )
