"""How long a reconciliation takes, what it asks and needs, and that a kill loses nothing.

    .venv/bin/python -m tests.benchmarks.bench_reconciliation [--subscriptions N] [--drift 0.01]

Makes as many subscriptions at a fake Stripe (in a separate process) and in a database,
and differences of five kinds. Then `cookcam reconcile` runs as a process: at once; and, with the
same differences made again, killed with SIGKILL half way and ended by a second process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import psycopg
import trio
from attrs import define, frozen

from cookcam.sandbox.stripe import open_stripe
from tests.support.commands import clean_environment
from tests.support.postgres import TEMPLATE, as_owner, start_cluster
from tests.support.reconciliation import new_users, period_of, store_as_sold

DIFFERENCES = (
    "update public.user_subscriptions set status = 'past_due' where id = any(%s)",
    "update public.user_subscriptions set current_period_end = current_period_end"
    " - interval '1 day' where id = any(%s)",
    "update public.user_subscriptions set tier_id = 3 where id = any(%s)",
    "delete from public.user_subscriptions where id = any(%s)",  # lost here
)
UNKNOWN_THERE = """
insert into public.user_subscriptions (
  user_id, tier_id, status, current_period_start, current_period_end, provider,
  provider_subscription_id
)
select id, 2, 'active', now() - interval '1 day', now() + interval '1 day', 'stripe',
  'sub_gone' || id
from public.users u
where not exists (select from public.user_subscriptions s where s.user_id = u.id)
limit %s"""


@define
class StripeProcess:
    """The fake Stripe: reads users as one line of JSON, then prints the requests so far per
    line."""

    process: subprocess.Popen[str]
    about: dict[str, Any]

    def requests(self) -> int:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@frozen
class Done:
    status: int
    seconds: float
    megabytes: float
    reported: str


def start_stripe(users: list[str]) -> StripeProcess:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.bench_reconciliation", "--serve-stripe"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps(users) + "\n")
    process.stdin.flush()
    return StripeProcess(process, json.loads(process.stdout.readline()))


async def serve_stripe() -> None:
    users = json.loads(await trio.to_thread.run_sync(sys.stdin.readline))
    async with open_stripe() as stripe:
        refs = stripe.stock(len(users), metadata=lambda n: {"user_id": users[n], "tier_id": "2"})
        start, end = period_of(stripe.get("subscription", refs[0]))
        about = {"url": stripe.url, "key": stripe.key, "refs": refs, "start": start, "end": end}
        print(json.dumps(about), flush=True)
        while await trio.to_thread.run_sync(sys.stdin.readline):
            print(len(stripe.requests), flush=True)


def settings(url: str, stripe: StripeProcess) -> dict[str, str]:
    return clean_environment(
        APP_ENV="test",
        DATABASE_URL=url,
        SUPABASE_URL="http://127.0.0.1:9",
        SUPABASE_ANON_KEY="none",
        SUPABASE_SERVICE_ROLE_KEY="none",
        OPENAI_API_KEY="none",
        STRIPE_SECRET_KEY=stripe.about["key"],
        STRIPE_API_BASE=stripe.about["url"],
        LOG_LEVEL="error",
    )


def reconcile(environ: dict[str, str], kill_after: float | None = None) -> Done:
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "cookcam", "reconcile"], env=environ, stdout=output
        )
        megabytes = 0.0
        while process.poll() is None:
            megabytes = max(megabytes, peak_megabytes(process.pid))
            if kill_after is not None and time.perf_counter() - began > kill_after:
                process.kill()
            time.sleep(0.02)
        output.seek(0)
        reported = output.read().strip()
    seconds = time.perf_counter() - began
    return Done(process.returncode, seconds, megabytes, reported)


def peak_megabytes(pid: int) -> float:
    """Of the program itself: what `getrusage` tells begins with what its parent had."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) / 1024 if lines else 0.0


def make_differ(connection: psycopg.Connection[Any], count: int) -> None:
    each = count // (len(DIFFERENCES) + 1)
    first = count - each * len(DIFFERENCES)
    connection.execute(UNKNOWN_THERE, (first,))
    for number, statement in enumerate(DIFFERENCES):
        ids = [
            row[0]
            for row in connection.execute(
                "select id from public.user_subscriptions where status = 'active' and tier_id = 2"
                " and provider_subscription_id not like 'sub\\_gone%%' and current_period_end ="
                " (select max(current_period_end) from public.user_subscriptions)"
                " order by md5(id::text || %s) limit %s",
                (str(number), each),
            )
        ]
        connection.execute(statement, (ids,))
    connection.commit()


def found(connection: psycopg.Connection[Any]) -> int:
    """Corrections so far; each of another subscription."""
    row = connection.execute(
        "select count(*), count(distinct subscription_id) from public.subscription_history"
        " where source = 'reconciliation'"
    ).fetchone()
    assert row is not None
    return row[0]


@click.command()
@click.option("--subscriptions", default=100_000)
@click.option("--drift", default=0.01, help="The part that differs.")
@click.option("--serve-stripe", is_flag=True, hidden=True)
def main(subscriptions: int, drift: float, serve_stripe: bool) -> None:
    if serve_stripe:
        trio.run(globals()["serve_stripe"])
        return
    with tempfile.TemporaryDirectory() as directory:
        cluster = start_cluster(Path(directory) / "cluster")
        with cluster.temporary(TEMPLATE) as name:
            measure(cluster.url(name, "cookcam_app"), subscriptions, round(subscriptions * drift))


def measure(url: str, subscriptions: int, differing: int) -> None:
    users = trio.run(new_users, url, subscriptions)
    trio.run(new_users, url, 2 * differing)  # who have only what Stripe does not know
    stripe = start_stripe([str(user) for user in users])
    try:
        about = stripe.about
        trio.run(store_as_sold, url, users, about["refs"], about["start"], about["end"])
        with psycopg.connect(as_owner(url)) as connection:
            connection.execute("analyze")
            connection.commit()
            seconds = run_whole(connection, settings(url, stripe), stripe, differing)
            run_killed(connection, settings(url, stripe), stripe, differing, seconds / 2)
    finally:
        assert stripe.process.stdin
        stripe.process.stdin.close()
        stripe.process.wait()


def run_whole(
    connection: psycopg.Connection[Any],
    environ: dict[str, str],
    stripe: StripeProcess,
    differing: int,
) -> float:
    empty = reconcile(environ)
    tell("nothing differs", empty, stripe.requests())
    make_differ(connection, differing)
    before, requested = found(connection), stripe.requests()
    done = reconcile(environ)
    tell(f"{differing} differ", done, stripe.requests() - requested)
    assert f"{differing} differed, {differing} corrected" in done.reported, done
    print(f"   history: {found(connection) - before} lines")
    again = reconcile(environ)
    assert " 0 differed" in again.reported, again
    return done.seconds


def run_killed(
    connection: psycopg.Connection[Any],
    environ: dict[str, str],
    stripe: StripeProcess,
    differing: int,
    kill_after: float,
) -> None:
    make_differ(connection, differing)
    requested = stripe.requests()
    killed = reconcile(environ, kill_after)
    first = stripe.requests() - requested
    row = connection.execute(
        "select step, total_checked from public.reconciliation_runs where finished_at is null"
    ).fetchone()
    connection.commit()
    assert row is not None, killed
    print(f"killed after {killed.seconds:.1f} s, {first} requests, at {row[0]!r}: {row[1]} checked")
    done = reconcile(environ)
    second = stripe.requests() - requested - first
    tell("the rest", done, second)
    assert f"{differing} differed, {differing} corrected" in done.reported, done


def tell(what: str, done: Done, requests: int) -> None:
    print(
        f"{what}: {done.seconds:.1f} s, {requests} requests, {done.megabytes:.0f} MB at most,"
        f" status {done.status}\n   {done.reported}",
        flush=True,
    )


if __name__ == "__main__":
    main()
