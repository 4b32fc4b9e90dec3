"""Leaderboards and awards from a thousand users to a million, on the embedded database.

    .venv/bin/python -m tests.benchmarks.bench_leaderboards [--users 1000 1000000] [--calls 400]

Users have XP of the day, week, month, year and of all time, log-normally distributed. The figures
are milliseconds at the client of the database.

| column | what it is                                              | wanted                       |
|--------|---------------------------------------------------------|------------------------------|
| page   | the first page of 50, with movement: p99                | <= 20                        |
| place  | the place of a random user of all time: p99             | <= 20                        |
| daily  | the same of the day, in which a third has one XP: p99   | <= 20                        |
| around | the page around a random user of the day: p99           |                              |
| award  | one award of XP, committed: median                      | the same for each number     |
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg

from tests.support.postgres import TEMPLATE, as_owner, start_cluster

FILL = """
alter table auth.users disable trigger user;
alter table users disable trigger user;
alter table xp_periods disable trigger xp_periods_count;
insert into auth.users (email) select n || '@example.test' from generate_series(1, %s) n;
insert into users (id, email, xp, total_xp) select drawn.id, drawn.email, drawn.xp, drawn.xp from (
  select id, email, 1 + floor(exp(5 + 2 * least(
    sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()), 3.5
  )))::integer as xp from auth.users
) as drawn;
insert into xp_periods (user_id, period, begins, xp, total_xp, reached_at)
select u.id, p.period, d.begins, greatest(u.total_xp / p.part, 1), u.total_xp,
  now() - random() * interval '1 day'
from users u, (values ('daily', 30), ('weekly', 10), ('monthly', 3), ('yearly', 1), ('allTime', 1))
  as p(period, part), lateral period_dates(p.period) as d;
insert into xp_rank_counts (period, begins, scope, bucket, users)
select period, begins, '', xp_rank_bucket(xp, bucket, total_xp), count(*)
from xp_periods group by 1, 2, 4;
alter table auth.users enable trigger user;
alter table users enable trigger user;
alter table xp_periods enable trigger xp_periods_count;
"""


def milliseconds(call: Callable[[], Any], calls: int) -> list[float]:
    taken: list[float] = []
    for _ in range(calls):
        began = time.perf_counter()
        call()
        taken.append((time.perf_counter() - began) * 1000)
    return sorted(taken)


def p99(values: list[float]) -> float:
    return values[int((len(values) - 1) * 0.99)]


def measure(url: str, users: int, calls: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in FILL.split(";\n")[:-1]:
            connection.execute(statement.replace("%s", str(users)).encode())
        connection.execute("vacuum analyze")
        ids: list[UUID] = [
            row[0]
            for row in connection.execute("select id from users order by random() limit 1000")
        ]

        def ask(statement: bytes, *params: object) -> None:
            connection.execute(statement, params).fetchall()

        pick = random.Random(1)
        page = milliseconds(lambda: ask(b"select * from get_leaderboard_data('weekly', 50)"), calls)
        place, daily = [
            milliseconds(
                lambda: ask(b"select leaderboard_place(%s, %s)", pick.choice(ids), period),  # noqa: B023
                calls,
            )
            for period in ("allTime", "daily")
        ]
        around = milliseconds(
            lambda: ask(
                b"select * from get_leaderboard_data('daily', 50, null, 0, null, %s)",
                pick.choice(ids),
            ),
            calls,
        )
        award = milliseconds(
            lambda: ask(
                b"select * from add_user_xp(%s, null, 'ADD_REAL_INGREDIENT')", pick.choice(ids)
            ),
            calls,
        )
    print(
        f"{users:8} users: page {p99(page):6.2f}, place {p99(place):6.2f}, "
        f"daily {p99(daily):6.2f}, "
        f"around {p99(around):6.2f}, award {statistics.median(award):6.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--calls", type=int, default=400)
    options = parser.parse_args()
    cluster = start_cluster(Path(tempfile.gettempdir()) / f"cookcam-bench-{uuid4().hex[:8]}")
    for users in options.users:
        with cluster.temporary(TEMPLATE) as database:
            measure(as_owner(cluster.url(database)), users, options.calls)


if __name__ == "__main__":
    main()
