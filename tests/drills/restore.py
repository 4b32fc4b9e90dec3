"""The restore drill: a dump under write load, restored into an empty database, and proved.

    python -m tests.drills.restore [--users 2000] [--recipes 20000] [--json]

Runs the server and the real commands `cookcam backup` and `cookcam restore` on an embedded
PostgreSQL. While clients write recipes and the creators' ledger grows, a dump is taken. Then:

- the number of rows of each table is that of the dump's manifest (`cookcam restore` compares them);
- every recipe that was answered 201 before the dump began is in the restored database;
- the creators' journal sums to zero, and each ledger entry has both of its postings;
- a server on the restored database lets a user sign in and read the own recipe.

Prints the times; exit status 1 when a proof fails. Docs: the runbook "Restoring a backup".
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4

import click
import httpx
import psycopg
import structlog
import trio
from attrs import define, field

from cookcam.sandbox.gotrue import Gotrue
from cookcam.sandbox.postgres import find_binaries
from tests.identity.project import PASSWORD, new_user, open_project
from tests.support.commands import run
from tests.support.postgres import TEMPLATE, Cluster, as_owner, start_cluster
from tests.support.whole_server import ServerUnderTest, environment, whole_server

RTO = 15 * 60
"""Seconds from the decision to a server that answers (docs/runbooks.md)."""
WRITERS = 4
MIN_ACKNOWLEDGED = 20
"""Recipes that are stored before the dump begins."""
RESTORED = "cookcam_restored"

SEED = """
insert into auth.users (id, email)
select lpad(to_hex(i), 32, '0')::uuid, 'drill-' || i || '@example.com'
from generate_series(1, {users}) as i;
insert into public.recipes (title, description, instructions, created_by, is_published)
select 'Recipe ' || i, repeat('A description of some words. ', 10), array['Chop.', 'Cook.'],
  lpad(to_hex(1 + i % {users}), 32, '0')::uuid, true
from generate_series(1, {recipes}) as i;
insert into public.creator_ledger (creator_id, kind, amount_cents, source_ref, occurred_at)
select lpad(to_hex(1 + i % {users}), 32, '0')::uuid, 'commission', 1 + i % 900, 'seed_' || i, now()
from generate_series(1, {recipes}) as i;
"""

ENTRY = """
insert into public.creator_ledger (creator_id, kind, amount_cents, source_ref, occurred_at)
values (lpad('1', 32, '0')::uuid, 'commission', 250, %s, now())"""

PROOFS = {
    "the journal sums to zero in each currency": """
        select not exists (
          select from public.creator_journal group by currency having sum(amount_cents) <> 0
        )""",
    "each ledger entry has two postings that cancel out": """
        select not exists (
          select from public.creator_ledger l
          left join public.creator_journal j on j.ledger_id = l.id
          group by l.id having count(j.id) <> 2 or sum(j.amount_cents) <> 0
        )""",
    "each identity has its profile": """
        select not exists (
          select from auth.users a left join public.users u on u.id = a.id where u.id is null
        )""",
}


@define
class WriteLoad:
    """Clients that write recipes, and entries of the ledger; `created` are acknowledged titles."""

    server: ServerUnderTest
    token: str
    owner_url: str
    created: list[str] = field(factory=list[str])
    entries: int = 0
    errors: int = 0

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(WRITERS):
                nursery.start_soon(self._write_recipes)
            nursery.start_soon(self._write_entries)

    async def _write_recipes(self) -> None:
        headers = {"Authorization": f"Bearer {self.token}"}
        while True:
            title = f"Drill {uuid4()}"
            try:
                response = await self.server.http.post(
                    "/recipes", headers=headers, json={"title": title}
                )
            except httpx.HTTPError:
                self.errors += 1
                continue
            if response.status_code == 201:
                self.created.append(title)
            else:
                self.errors += 1

    async def _write_entries(self) -> None:
        connection = await psycopg_connection(self.owner_url)
        try:
            while True:
                await trio.to_thread.run_sync(
                    partial(connection.execute, ENTRY, [f"drill_{uuid4()}"])
                )
                self.entries += 1
                await trio.sleep(0.005)
        finally:
            connection.close()


async def psycopg_connection(url: str) -> psycopg.Connection[Any]:
    return await trio.to_thread.run_sync(partial(psycopg.connect, url, autocommit=True))


@define
class Drill:
    """`times` in seconds, `figures` of the dump, `proofs` by name."""

    cluster: Cluster
    folder: Path
    times: dict[str, float] = field(factory=dict[str, float])
    figures: dict[str, Any] = field(factory=dict[str, Any])
    proofs: dict[str, bool] = field(factory=dict[str, bool])

    async def run(self, users: int, recipes: int) -> None:
        with self.cluster.temporary(TEMPLATE) as name:
            url = self.cluster.url(name, "cookcam_app")
            with psycopg.connect(as_owner(url)) as connection:
                connection.execute(SEED.format(users=users, recipes=recipes).encode())
            before, ann = await self._dump_under_load(url)
        began = perf_counter()
        try:
            await self._command(
                "restore", "restore", str(self._dump), "--database", RESTORED,
                url=self.cluster.url("postgres"),
            )  # fmt: skip
            await self._prove(before, ann, began)
        finally:
            self.cluster.drop(RESTORED)

    @property
    def _dump(self) -> Path:
        return self.folder / "drill.dump"

    async def _dump_under_load(self, url: str) -> tuple[list[str], str]:
        """The titles that were acknowledged before the dump began, and the e-mail of their user."""
        async with open_server(url) as (server, gotrue), trio.open_nursery() as nursery:
            ann = await new_user(gotrue, "Ann")
            load = WriteLoad(server, gotrue.issue_token(ann), as_owner(url))
            nursery.start_soon(load.run)
            while len(load.created) < MIN_ACKNOWLEDGED:
                await trio.sleep(0.05)
            before, entries = list(load.created), load.entries
            began = perf_counter()
            await self._command("backup", "backup", str(self._dump), url=as_owner(url))
            seconds = perf_counter() - began
            self.figures |= {
                "recipes written during the dump": len(load.created) - len(before),
                "requests a second during the dump": (len(load.created) - len(before)) / seconds,
                "ledger entries written during the dump": load.entries - entries,
                "failed requests": load.errors,
            }
            self.proofs["no request failed during the dump"] = load.errors == 0
            nursery.cancel_scope.cancel()
        return before, ann.email

    async def _command(self, what: str, *arguments: str, url: str) -> None:
        settings = {
            "APP_ENV": "test",
            "DATABASE_URL": url,
            "POSTGRES_TOOLS_DIRECTORY": str(find_binaries()),
        }
        began = perf_counter()
        done = await trio.to_thread.run_sync(
            partial(run, *arguments, cwd=self.folder, env=settings, timeout=RTO)
        )
        self.times[what] = perf_counter() - began
        self.proofs[f"cookcam {what} succeeded"] = done.returncode == 0
        if done.returncode != 0:
            raise click.ClickException(done.stderr)

    async def _prove(self, before: list[str], email: str, began: float) -> None:
        manifest = json.loads(self._dump.with_name("drill.dump.json").read_bytes())
        self.figures |= {
            "dump, MB": manifest["size"] / 1e6,
            "rows": sum(manifest["rows"].values()),
            "tables": len(manifest["rows"]),
        }
        url = self.cluster.url(RESTORED, "cookcam_app")
        with psycopg.connect(as_owner(url)) as connection:
            for name, statement in PROOFS.items():
                self.proofs[name] = connection.execute(statement.encode()).fetchone() == (True,)
            kept = connection.execute(
                "select count(*) from public.recipes where title = any(%s)", [before]
            ).fetchone()
        self.figures["recipes acknowledged before the dump"] = len(before)
        self.proofs["every recipe acknowledged before the dump is there"] = kept == (len(before),)
        began_server = perf_counter()
        async with open_server(url) as (server, _):
            ready = await server.http.get(f"{server.url}/health/ready")
            session = await server.http.post(
                "/auth/login", json={"email": email, "password": PASSWORD}
            )
            headers = {"Authorization": f"Bearer {session.json().get('token')}"}
            own = await server.http.get("/users/profile", headers=headers)
            self.times["server and sign-in"] = perf_counter() - began_server
        self.times["from the restore's begin to the sign-in"] = perf_counter() - began
        self.proofs["the server is ready on the restored database"] = ready.status_code == 200
        self.proofs["a user signs in and reads the profile"] = own.status_code == 200
        self.proofs["within the RTO of 15 minutes"] = perf_counter() - began < RTO


@asynccontextmanager
async def open_server(database_url: str) -> AsyncGenerator[tuple[ServerUnderTest, Gotrue]]:
    async with (
        open_project(database_url) as gotrue,
        whole_server(environment(database_url, gotrue)) as server,
    ):
        yield server, gotrue


def perform(users: int, recipes: int) -> Drill:
    """Run the drill in a temporary folder. Blocks."""
    with tempfile.TemporaryDirectory(prefix="cookcam-drill-") as folder:
        cluster = start_cluster(Path(tempfile.gettempdir()) / f"cookcam-drill-{uuid4().hex[:8]}")
        drill = Drill(cluster, Path(folder))
        trio.run(drill.run, users, recipes)
        return drill


@click.command()
@click.option("--users", default=2_000, show_default=True)
@click.option("--recipes", default=20_000, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(users: int, recipes: int, as_json: bool) -> None:
    """Rehearse a restore and prove the data."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # the output is the result
    drill = perform(users, recipes)
    if as_json:
        click.echo(
            json.dumps({"seconds": drill.times, "figures": drill.figures, "proofs": drill.proofs})
        )
    else:
        for name, seconds in drill.times.items():
            click.echo(f"{seconds:8.1f} s  {name}")
        for name, value in drill.figures.items():
            click.echo(f"{value:10,.0f}  {name}")
        for name, holds in drill.proofs.items():
            click.echo(f"{'holds' if holds else 'FAILS':>10}  {name}")
    sys.exit(0 if all(drill.proofs.values()) else 1)


if __name__ == "__main__":
    main()
