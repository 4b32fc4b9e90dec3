"""Ranks and pages against plain sorting; leaderboards of a country and around a user."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import Connection, connect

from cookcam.features.rewards.leaderboards.responses import LeaderboardResponse
from tests.features.conftest import ApiUser
from tests.support.postgres import as_owner
from tests.support.social import ApiServer, open_api_server, refused

BOARD = "/gamification/leaderboard"

SORTED = """
select x.user_id, x.country, x.xp, row_number() over w as place,
  1 + (select count(*) from xp_periods o
    where o.period = x.period and o.begins = x.begins and o.xp > x.xp) as rank,
  row_number() over (partition by x.country order by
    x.xp desc, x.total_xp desc, x.reached_at, x.user_id) as in_country
from xp_periods x
where x.period = %s and x.begins = (select d.begins from period_dates(%s) d)
window w as (order by x.xp desc, x.total_xp desc, x.reached_at, x.user_id)
order by place"""

AWARD = """
with earned as (
  update users set total_xp = total_xp + %s where id = %s returning id, total_xp
)
insert into user_progress (user_id, action, xp_gained, total_xp, old_level, new_level, created_at)
select id, 'x', %s, total_xp, 1, 1, now() + make_interval(secs => %s) from earned"""

USERS = 12
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("award"),
            st.integers(0, USERS - 1),
            # Few values, so that there are ties; and values at the edges of buckets.
            st.sampled_from([1, 5, 5, 5, 31, 32, 63, 64, 1000, 100_000]),
        ),
        st.tuples(st.just("move"), st.integers(0, USERS - 1), st.sampled_from(["DE", "FR"])),
        st.tuples(st.just("delete"), st.integers(0, USERS - 1), st.none()),
        st.tuples(st.just("compact"), st.none(), st.none()),
    ),
    min_size=1,
    max_size=40,
)


def rows(connection: Connection, statement: str, *params: object) -> list[Any]:
    cursor = connection.execute(statement.encode(), params)
    return cursor.fetchall() if cursor.description else []


def check(connection: Connection, period: str) -> None:
    expected = rows(connection, SORTED, period, period)
    for user, country, xp, place, rank, in_country in expected:
        found = rows(connection, "select leaderboard_place(%s, %s)", user, period)
        assert found == [(place,)]
        if country is not None:
            found = rows(
                connection,
                "select leaderboard_place(%s, %s, null, %s)",
                user,
                period,
                country,
            )
            assert found == [(in_country,)]
        found = rows(
            connection,
            "select user_rank, total_users, period_xp from get_user_rank(%s, %s)",
            user,
            period,
        )
        assert found == [(rank, len(expected), xp)]
        around = rows(
            connection,
            "select rank, user_id from get_leaderboard_data(%s, 4, null, 0, null, %s)",
            period,
            user,
        )
        first = max(0, place - 1 - 2)
        assert around == [(row[3], row[0]) for row in expected[first : first + 4]]
    page = rows(connection, "select user_id from get_leaderboard_data(%s, 100)", period)
    assert [row[0] for row in page] == [row[0] for row in expected]


def test_ranks_equal_a_sort_on_random_histories(fresh_database_url: str):
    with connect(as_owner(fresh_database_url), autocommit=True) as connection:

        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
        @given(STEPS)
        def follow(steps: list[tuple[str, Any, Any]]) -> None:
            with connection.transaction(force_rollback=True):
                users: list[UUID] = [
                    row[0]
                    for row in rows(
                        connection,
                        "insert into auth.users (email) select n || '@example.test'"
                        " from generate_series(1, %s) n returning id",
                        USERS,
                    )
                ]
                for number, (step, who, value) in enumerate(steps):
                    if step == "award":
                        rows(connection, AWARD, value, users[who], value, number)
                    elif step == "move":
                        rows(
                            connection,
                            "update users set country = %s where id = %s",
                            value,
                            users[who],
                        )
                    elif step == "delete":
                        rows(connection, "delete from auth.users where id = %s", users[who])
                    else:
                        rows(connection, "select compact_xp_ranks()")
                for period in ("daily", "allTime"):
                    check(connection, period)
                rows(connection, "select compact_xp_ranks()")
                check(connection, "daily")
                counts = "select count(*), count(distinct (period, begins, scope, bucket))"
                [(total, distinct)] = rows(connection, f"{counts} from xp_rank_counts")
                assert total == distinct

        follow()


@pytest.fixture
async def api(fresh_database_url: str, tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with open_api_server(fresh_database_url, tmp_path) as opened:
        yield opened


async def page(user: ApiUser, **query: Any) -> list[tuple[int, str]]:
    response = await user.get(BOARD, params={"period": "daily", **query})
    assert response.status_code == 200, response.text
    body = msgspec.convert(response.json(), LeaderboardResponse)
    own = [entry.rank for entry in body.leaderboard if str(entry.users.id) == user.id]
    assert not own or own == [body.user_rank]
    return [(entry.rank, entry.users.name or "") for entry in body.leaderboard]


async def test_leaderboards_of_a_country_and_around_the_caller(api: ApiServer):
    users = [await api.person(f"User{number}") for number in range(7)]
    for number, user in enumerate(users):
        await api.sql(
            AWARD.replace("%s", "%({})s").format("xp", "id", "xp", "zero"),
            xp=100 - 10 * number,
            id=user.id,
            zero=0,
        )
    for user in users[::2]:
        changed = await user.put("/users/profile", {"country": "DE"})
        assert changed.status_code == 200
    assert (await users[0].put("/users/profile", {"country": "de"})).status_code == 400
    assert await page(users[4], type="country") == [
        (1, "User0"), (2, "User2"), (3, "User4"), (4, "User6")
    ]  # fmt: skip
    assert await page(users[1], type="country") == []
    assert await page(users[4], around="me", limit=3) == [
        (4, "User3"), (5, "User4"), (6, "User5")
    ]  # fmt: skip
    assert await page(users[0], around="me", limit=2) == [(1, "User0"), (2, "User1")]
    assert await page(users[6], around="me", limit=2) == [(6, "User5"), (7, "User6")]
    assert await page(await api.person("New"), around="me") == []
    for query in ({"type": "country"}, {"around": "me"}):
        refused(await api.guest.get(BOARD, params=query), 401, "Authentication required")
    for query in ({"around": "bob"}, {"around": "me", "type": "friends"}):
        refused(await users[0].get(BOARD, params=query), 400, "Invalid around")
