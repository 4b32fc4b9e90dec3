"""Leaderboards from sorted sets in Redis: a copy of `xp_periods`, which stays the truth.

A board is a period's sorted set of all users (scope '') or of a country. The score is minus the
XP and the members sort like the rest of the order, so a place is a ZRANK. Every read first applies
the changes that were committed since the copy's snapshot (`xp_changes`): what was committed before
a read is in it. Changes are applied to the version that was read only, so instances take turns.

Redis may lose the copy or a part of it. The copy counts the members of its boards; when a count is
wrong, when the copy is too old, or there is none, reads go to SQL and the background task loads a
new one. It is loaded daily in any case.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from hashlib import sha256
from typing import Any, Final, Protocol, TypeVar
from uuid import UUID, uuid4

from attrs import define, field, frozen

from cookcam.errors import ServiceUnavailable
from cookcam.features.rewards.leaderboards.models import Board, Period, UserRank
from cookcam.features.rewards.leaderboards.store import BoardRows, LeaderboardStore
from cookcam.integrations.redis_attempts import RedisAttempts
from cookcam.lifecycle.background import run_periodically
from cookcam.observability.logging import get_logger

T = TypeVar("T")

log = get_logger(__name__)

STATE: Final = "{leaderboards}:state"
LOADING: Final = "{leaderboards}:loading"
"""The state of a copy that is being loaded. All keys have one hash tag, for a cluster."""
LIFETIME: Final = 24 * 3600
"""Seconds until a copy is replaced by a new one."""
LOADING_LEASE: Final = 60
"""Seconds in which a step of loading has to follow; then another instance may load."""
MAX_AGE: Final = 1800.0
"""Seconds; `xp_changes` holds an hour."""
MAX_CHANGED: Final = 5000
"""Users in one step, which takes Redis about 50 ms. A copy that is further behind is loaded."""
MAX_ATTEMPTS: Final = 5
"""Steps that a read tries beside those of other instances."""
STEP_INTERVAL: Final = 5.0
MAX_PAGE: Final = 100

START_SCRIPT: Final = """
if redis.call('EXISTS', '{leaderboards}:state', '{leaderboards}:loading') > 0 then return 0 end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'version', 0, 'snapshot', ARGV[2], 'read_at', ARGV[3],
  'lease', ARGV[4], 'expires', redis.call('TIME')[1] + ARGV[5])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
"""

DROP_FUNCTION: Final = """
local function drop(state)
  local prefix = '{leaderboards}:' .. (redis.call('HGET', state, 'epoch') or '') .. ':'
  for _, name in ipairs(redis.call('HKEYS', state)) do
    local board = string.match(name, '^members:(.*)$')
    if board then redis.call('UNLINK', prefix .. board, prefix .. board .. 'users') end
  end
  redis.call('DEL', state)
end
"""

DROP_SCRIPT: Final = DROP_FUNCTION + "drop(KEYS[1])"

# Replaces the rows of users on the boards of `begins`. Returns 1; 0 for another version; -1 when a
# set has lost members, and drops the copy.
APPLY_SCRIPT: Final = (
    DROP_FUNCTION
    + """
local state = KEYS[1]
local version, snapshot, read_at = ARGV[1], ARGV[2], ARGV[3]
local begins, users = cjson.decode(ARGV[4]), cjson.decode(ARGV[5])
if redis.call('HGET', state, 'version') ~= version then return 0 end
local epoch = redis.call('HGET', state, 'epoch')
local expires = redis.call('HGET', state, 'expires')
local function key(board, scope)
  return '{leaderboards}:' .. epoch .. ':' .. board .. ':' .. scope
end
local function count(board, scope, step)
  local counted = redis.call('HINCRBY', state, 'members:' .. board .. ':' .. scope, step)
  if step > 0 and counted == 1 then
    redis.call('EXPIREAT', key(board, scope), expires)
    if scope == '' then redis.call('EXPIREAT', key(board, 'users'), expires) end
  end
end
for period, date in pairs(begins) do
  local board = period .. ':' .. date
  local members = tonumber(redis.call('HGET', state, 'members:' .. board .. ':') or 0)
  if redis.call('HLEN', key(board, 'users')) ~= members
    or redis.call('ZCARD', key(board, '')) ~= members then
    drop(state)
    return -1
  end
  for _, user in ipairs(users) do
    local old = redis.call('HGET', key(board, 'users'), user.user)
    if old then
      local member, country = string.match(old, '^(%x+) (.*)$')
      for _, scope in ipairs(country ~= '' and {'', country} or {''}) do
        redis.call('ZREM', key(board, scope), member)
        count(board, scope, -1)
      end
      redis.call('HDEL', key(board, 'users'), user.user)
    end
    local row = user.rows[period]
    if row then
      local xp, member, country = row[1], row[2], row[3]
      redis.call('HSET', key(board, 'users'), user.user, member .. ' ' .. country)
      for _, scope in ipairs(country ~= '' and {'', country} or {''}) do
        redis.call('ZADD', key(board, scope), -xp, member)
        count(board, scope, 1)
      end
    end
  end
end
redis.call('HINCRBY', state, 'version', 1)
redis.call('HSET', state, 'snapshot', snapshot, 'read_at', read_at)
local lease = redis.call('HGET', state, 'lease')
if lease then redis.call('EXPIRE', state, lease) end
return 1
"""
)

# The boards expire later than the state.
PUBLISH_SCRIPT: Final = """
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'lease')
redis.call('EXPIREAT', KEYS[1], redis.call('HGET', KEYS[1], 'expires') - 60)
redis.call('RENAME', KEYS[1], '{leaderboards}:state')
return 1
"""

STATE_SCRIPT: Final = (
    "return redis.call('HMGET', KEYS[1], 'epoch', 'version', 'snapshot', 'read_at')"
)

# Place of a user (0: none), XP of the user, number of users with more XP, of all users, and a page:
# the number of users before it, then members and scores. Empty when the copy is another or damaged.
READ_SCRIPT: Final = (
    DROP_FUNCTION
    + """
local epoch, board, scope = ARGV[1], ARGV[2], ARGV[3]
local user, skipped, limit, around = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
if redis.call('HGET', KEYS[1], 'epoch') ~= epoch then return {} end
local function key(name) return '{leaderboards}:' .. epoch .. ':' .. board .. ':' .. name end
local ranked = key(scope)
local total = redis.call('ZCARD', ranked)
local members = redis.call('HGET', KEYS[1], 'members:' .. board .. ':' .. scope) or 0
if total ~= tonumber(members) then
  drop(KEYS[1])
  return {}
end
local place, xp, above = 0, 0, 0
if user ~= '' then
  local member = redis.call('HGET', key('users'), user)
  member = member and string.match(member, '^%x+')
  local rank = member and redis.call('ZRANK', ranked, member)
  if rank then
    local score = redis.call('ZSCORE', ranked, member)
    place, xp = rank + 1, -score
    above = redis.call('ZCOUNT', ranked, '-inf', '(' .. score)
  end
end
if around == '1' then
  if place == 0 then limit = 0 end
  skipped = math.max(place - 1 - math.floor(limit / 2), 0)
end
local page = {}
if limit > 0 then
  page = redis.call('ZRANGE', ranked, skipped, skipped + limit - 1, 'WITHSCORES')
end
return {place, xp, above, total, skipped, page}
"""
)


class Redis(Protocol):
    """The part of `cookcam.integrations.redis.Redis` used here; raises ServiceUnavailable."""

    async def run_script(
        self, script: str, keys: Sequence[str], args: Sequence[int | str]
    ) -> Any: ...


class CopyUnavailable(ServiceUnavailable):
    """Redis has no current copy; the caller reads from SQL."""


@frozen
class BoardPosition:
    """The place of a user on a board (None: not on it), and the page that was read."""

    place: int | None
    xp: int
    users_above: int
    total_users: int
    skipped: int
    users: Sequence[UUID]
    users_xp: Sequence[int]


@define(eq=False)
class RedisLeaderboardStore:
    """`LeaderboardStore` with places and pages from Redis, and from SQL while Redis has none.

    Pages of friends are read from SQL.
    """

    sql: LeaderboardStore
    redis: Redis
    _attempts: RedisAttempts = field(factory=partial(RedisAttempts, "leaderboards"), init=False)

    async def page(
        self, board: Board, limit: int, offset: int, *, around: UUID | None = None
    ) -> dict[str, str]:
        """`LeaderboardStore.page`."""

        async def from_redis() -> dict[str, str]:
            read = await self.read(
                board, user_id=around, skipped=max(offset, 0), limit=min(max(limit, 1), MAX_PAGE)
            )
            return await self.sql.page_of(
                board, read.users, read.users_xp, read.skipped, is_around=around is not None
            )

        async def from_sql() -> dict[str, str]:
            return await self.sql.page(board, limit, offset, around=around)

        return await (from_sql() if board.friends_of else self._either(from_redis, from_sql))

    async def place(self, user_id: UUID, board: Board) -> int | None:
        """`LeaderboardStore.place`."""

        async def from_redis() -> int | None:
            return (await self.read(board, user_id=user_id)).place

        async def from_sql() -> int | None:
            return await self.sql.place(user_id, board)

        return await (from_sql() if board.friends_of else self._either(from_redis, from_sql))

    async def rank(self, user_id: UUID, period: Period) -> UserRank | None:
        """`LeaderboardStore.rank`."""

        async def from_redis() -> UserRank | None:
            read = await self.read(Board(period), user_id=user_id)
            total_xp = await self.sql.total_xp(user_id)
            if total_xp is None:
                return None
            rank = None if read.place is None else read.users_above + 1
            return UserRank(rank, read.total_users, total_xp, read.xp)

        return await self._either(from_redis, lambda: self.sql.rank(user_id, period))

    async def country(self, user_id: UUID) -> str | None:
        return await self.sql.country(user_id)

    async def compact(self) -> int:
        return await self.sql.compact()

    # -- the copy

    async def run(self) -> None:
        """Background task: loads the copy when there is none, and keeps it from falling behind."""
        await run_periodically(self.step, STEP_INTERVAL, at_once=True)

    async def step(self) -> None:
        """Load the copy, or apply all changes. Raises ServiceUnavailable without Redis."""
        try:
            await self.catch_up(advance=True)
        except CopyUnavailable:
            await self.load()

    async def load(self) -> None:
        """Load a copy, unless there is one or another instance loads it."""
        epoch, before = uuid4().hex, await self.sql.users_after(None, 0)
        started = await self.redis.run_script(
            START_SCRIPT,
            [LOADING],
            [epoch, before.snapshot, _seconds(before), LOADING_LEASE, LIFETIME],
        )
        if not started:
            return
        version, last = 0, None
        while True:
            rows = await self.sql.users_after(last, MAX_CHANGED)
            if not rows.many:
                break
            # The snapshot stays that of the begin: all changes since are applied again.
            if await self._apply(LOADING, version, before, rows) != 1:
                return
            version, last = version + 1, rows.last_id
        if await self.redis.run_script(PUBLISH_SCRIPT, [LOADING], [epoch]):
            log.info("leaderboards loaded into redis", batches=version)

    async def catch_up(self, *, advance: bool = False) -> tuple[str, dict[Period, str]]:
        """Apply the changes committed so far; with `advance` also move the snapshot without any.

        Returns the copy's epoch and the dates of its boards. Raises CopyUnavailable without a copy,
        and when it is damaged, too far behind, or of another database.
        """
        for _ in range(MAX_ATTEMPTS):
            epoch, version, snapshot, read_at = await self.redis.run_script(
                STATE_SCRIPT, [STATE], []
            )
            if epoch is None:
                raise CopyUnavailable
            rows = await self.sql.changed_since(snapshot.decode(), MAX_CHANGED)
            is_older = _next_transaction(rows.snapshot) < _next_transaction(snapshot.decode())
            behind = rows.read_at.timestamp() - float(read_at) > MAX_AGE
            if is_older or behind or rows.many == MAX_CHANGED:
                await self.redis.run_script(DROP_SCRIPT, [STATE], [])
                raise CopyUnavailable
            if not rows.many and not advance:
                return epoch.decode(), rows.begins
            applied = await self._apply(STATE, int(version), rows, rows)
            if applied == 1:
                return epoch.decode(), rows.begins
            if applied == -1:
                log.warning("leaderboards in redis are damaged")
                raise CopyUnavailable
        raise CopyUnavailable

    async def read(
        self,
        board: Board,
        *,
        user_id: UUID | None,
        skipped: int = 0,
        limit: int = 0,
    ) -> BoardPosition:
        """The place of a user, and `limit` users of the board from `skipped` on.

        With a user and a limit, the page has the user in its middle. Raises CopyUnavailable.
        """
        epoch, begins = await self.catch_up()
        found = await self.redis.run_script(
            READ_SCRIPT,
            [STATE],
            [
                epoch,
                f"{board.period}:{begins[board.period]}",
                board.country or "",
                "" if user_id is None else sha256(user_id.bytes).hexdigest(),
                skipped,
                limit,
                1 if user_id is not None and limit else 0,
            ],
        )
        if not found:
            raise CopyUnavailable
        place, xp, above, total, before, page = found
        members, scores = page[::2], page[1::2]
        return BoardPosition(
            place or None,
            xp,
            above,
            total,
            before,
            [UUID(member[-32:].decode()) for member in members],
            [-int(score) for score in scores],
        )

    async def _apply(self, state: str, version: int, position: BoardRows, rows: BoardRows) -> int:
        """Apply rows to a copy with that version, which is at `position` afterwards."""
        begins = "{" + ",".join(f'"{name}":"{date}"' for name, date in rows.begins.items()) + "}"
        return await self.redis.run_script(
            APPLY_SCRIPT,
            [state],
            [str(version), position.snapshot, _seconds(position), begins, rows.users],
        )

    async def _either(
        self, from_redis: Callable[[], Awaitable[T]], from_sql: Callable[[], Awaitable[T]]
    ) -> T:
        results: list[T] = []

        async def attempt() -> None:
            results.append(await from_redis())

        if await self._attempts.attempt(attempt):
            return results[0]
        return await from_sql()


def _seconds(rows: BoardRows) -> str:
    return f"{rows.read_at.timestamp():.3f}"


def _next_transaction(snapshot: str) -> int:
    """The `xmax` of a `pg_snapshot`: the first transaction id that was not assigned then."""
    return int(snapshot.split(":")[1])
