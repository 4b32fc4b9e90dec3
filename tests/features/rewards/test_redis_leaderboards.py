"""Leaderboards from a real Redis, which loses data and is killed, against those of SQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql as sql_text

from cookcam.config.secret import Secret
from cookcam.config.sections import DatabaseConfig
from cookcam.database import Database
from cookcam.database.connection import Connection
from cookcam.features.rewards.leaderboards.models import Board, Period, UserRank
from cookcam.features.rewards.leaderboards.redis_store import (
    STATE,
    RedisLeaderboardStore,
)
from cookcam.features.rewards.leaderboards.store import LeaderboardStore
from cookcam.integrations import redis_attempts
from cookcam.integrations.redis import Redis
from tests.features.conftest import ApiUser
from tests.features.rewards.test_leaderboard_ranks import AWARD, BOARD
from tests.support.postgres import as_owner
from tests.support.redis import RedisServer, redis_server
from tests.support.social import open_api_server

pytestmark = pytest.mark.external

USERS = 5
PERIODS: tuple[Period, ...] = ("daily", "allTime")
USER = st.integers(0, USERS - 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("award"), USER, st.sampled_from([1, 5, 5, 5, 32, 100_000])),
        st.tuples(st.just("move"), USER, st.sampled_from(["DE", "FR", None])),
        st.tuples(st.just("delete"), USER, st.none()),
        st.tuples(st.just("compact"), st.none(), st.none()),
        st.tuples(st.just("step"), st.integers(0, 1), st.none()),
        st.tuples(st.just("read"), st.integers(0, 1), USER),
        st.tuples(st.just("flush"), st.none(), st.none()),
        st.tuples(st.just("evict"), st.none(), st.integers(0, 20)),
    ),
    min_size=1,
    max_size=30,
)
EVICT = """
local keys = redis.call('KEYS', '{leaderboards}:*')
if #keys > 0 then redis.call('DEL', keys[ARGV[1] % #keys + 1]) end"""


class WithoutSql(LeaderboardStore):
    """Fails a test in which Redis should have answered."""

    async def page(self, *args: Any, **kwargs: Any) -> dict[str, str]:
        raise AssertionError("a page was read from SQL")

    async def place(self, *args: Any, **kwargs: Any) -> int | None:
        raise AssertionError("a place was read from SQL")

    async def rank(self, *args: Any, **kwargs: Any) -> UserRank | None:
        raise AssertionError("a rank was read from SQL")


Store = LeaderboardStore | RedisLeaderboardStore


async def everything(store: Store, users: list[UUID]) -> list[Any]:
    """All that leaderboards show."""
    shown: list[Any] = []
    for period in PERIODS:
        for country in (None, "DE"):
            page = await store.page(Board(period, country=country), 100, 0)
            second = await store.page(Board(period, country=country), 2, 2)
            shown += [orjson.loads(page["entries"]), orjson.loads(second["entries"])]
            shown += [await store.place(user, Board(period, country=country)) for user in users]
        for user in users:
            around = await store.page(Board(period), 3, 0, around=user)
            shown += [orjson.loads(around["entries"]), await store.rank(user, period)]
    return shown


@pytest.fixture
def redis(monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    # For a busy machine; and every read tries Redis.
    monkeypatch.setattr(redis_attempts, "REDIS_TIMEOUT", 10.0)
    monkeypatch.setattr(redis_attempts, "RETRY_DELAY", 0.0)
    with redis_server() as server:
        trio.run(server.start)
        yield server


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
async def test_redis_equals_sql_on_random_histories(
    fresh_database_url: str, redis: RedisServer, steps: list[Any]
):
    config = DatabaseConfig(url=Secret(fresh_database_url), pool_min=1)
    async with (
        Database.open(config) as database,
        Redis.open(redis.url) as one,
        Redis.open(redis.url) as two,
        await Connection.connect(as_owner(fresh_database_url), autocommit=True) as owner,
    ):
        clients, sql = (one, two), LeaderboardStore(database)
        stores = [RedisLeaderboardStore(sql, client) for client in clients]
        cursor = await owner.execute(
            "insert into auth.users (email) select n || '@example.test'"
            " from generate_series(1, %s) n returning id",
            (USERS,),
        )
        users: list[UUID] = [row[0] for row in await cursor.fetchall()]
        try:
            for number, (step, who, value) in enumerate(steps):
                match step:
                    case "award":
                        await owner.execute(sql_text.SQL(AWARD), (value, users[who], value, number))
                    case "move":
                        await owner.execute(
                            "update users set country = %s where id = %s", (value, users[who])
                        )
                    case "delete":
                        await owner.execute("delete from auth.users where id = %s", (users[who],))
                    case "compact":
                        await sql.compact()
                    case "step":
                        await stores[who].step()
                    case "read":
                        read = [await s.rank(users[value], "daily") for s in (stores[who], sql)]
                        assert read[0] == read[1]
                    case "flush":
                        await one.run_script("return redis.call('FLUSHALL')", [STATE], [])
                    case _:
                        await one.run_script(EVICT, [STATE], [value])
            expected = await everything(sql, users)
            assert await everything(stores[0], users) == expected
            await stores[1].step()
            await stores[1].step()
            strict = RedisLeaderboardStore(WithoutSql(database), two)
            shown = await everything(strict, users)
            assert shown == expected
        finally:
            await owner.execute("delete from auth.users")


async def test_leaderboards_outlive_redis(
    fresh_database_url: str, tmp_path: Path, redis: RedisServer
):
    async with open_api_server(fresh_database_url, tmp_path, REDIS_URL=redis.url) as api:
        ann, bob = await api.person("Ann"), await api.person("Bob")

        async def earn(user: ApiUser, xp: int) -> None:
            await api.sql(
                AWARD.replace("%s", "%({})s").format("xp", "id", "xp", "zero"),
                xp=xp,
                id=user.id,
                zero=0,
            )

        async def ranks() -> list[int]:
            found: list[int] = []
            for user in (ann, bob):
                response = await user.get("/gamification/rank", params={"period": "daily"})
                assert response.status_code == 200
                found.append(response.json()["rank"])
            page = await ann.get(BOARD, params={"period": "daily", "around": "me"})
            assert page.json()["userRank"] == found[0]
            return found

        async def loaded() -> None:
            with trio.fail_after(20):
                while b":1" not in await redis.ask(f"EXISTS {STATE}"):
                    await trio.sleep(0.05)

        await loaded()
        await earn(ann, 10)
        await earn(bob, 20)
        assert await ranks() == [2, 1]
        redis.kill()
        await earn(ann, 20)
        assert await ranks() == [1, 2]
        await redis.start()
        await loaded()
        await earn(bob, 20)
        assert await ranks() == [2, 1]
