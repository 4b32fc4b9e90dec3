"""`kill -9` at every step of deleting an account: the next process finishes it, nothing is left.

The server is a process of its own. What it talks to holds it at a step; there it is killed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGKILL

import httpx
import trio

from cookcam.database.connection import Connection
from cookcam.sandbox.stripe import Fault
from tests.features.conftest import ApiUser
from tests.identity.project import PASSWORD
from tests.support.owners import OwnersApp, open_owners_app
from tests.support.personal_data import fill
from tests.support.ports import free_ports
from tests.support.postgres import as_owner
from tests.support.server_process import ServerProcess, started_server

Reached = Callable[[], Awaitable[None]]
Stage = Callable[[OwnersApp], AsyncIterator[Reached]]


def at_request(method: str, path: str, *, done: bool) -> Stage:
    """Held before a provider does what is asked (or after: the answer is lost)."""

    async def stage(house: OwnersApp) -> AsyncIterator[Reached]:
        house.hold.next(method, path, done=done)
        yield house.hold.reached.wait
        house.hold.nowhere()

    return stage


def at_stripe(*, done: bool) -> Stage:
    async def stage(house: OwnersApp) -> AsyncIterator[Reached]:
        fault = Fault("hang", times=1, late=done, path="/v1/subscriptions/")
        house.stripe.behaviour.fault = fault

        async def reached() -> None:
            while house.stripe.behaviour.fault is not None:
                await trio.sleep(0.01)

        yield reached

    return stage


async def at_the_rows(house: OwnersApp) -> AsyncIterator[Reached]:
    """Held inside the transaction that deletes all rows, most of them gone already."""
    async with await Connection.connect(as_owner(house.database_url)) as connection:
        await connection.execute("lock table public.user_streaks in access exclusive mode")

        async def reached() -> None:
            waiting = """select count(*) from pg_locks join pg_database d on d.oid = database
            where not granted and datname = current_database()"""
            while not (await house.sql(waiting))[0][0]:
                await trio.sleep(0.01)

        yield reached


STAGES: dict[str, tuple[Stage, str]] = {
    "before Stripe cancels": (at_stripe(done=False), "pending"),
    "after Stripe cancelled": (at_stripe(done=True), "pending"),
    "between the rows": (at_the_rows, "pending"),
    "before the identity": (
        at_request("DELETE", "/auth/v1/admin/users", done=False),
        "data_deleted",
    ),
    "after the identity": (
        at_request("DELETE", "/auth/v1/admin/users", done=True),
        "data_deleted",
    ),
    "before the files": (
        at_request("DELETE", "/storage/v1/object", done=False),
        "identity_deleted",
    ),
    "after a file": (
        at_request("DELETE", "/storage/v1/object", done=True),
        "identity_deleted",
    ),
}


async def test_killed_anywhere_an_account_is_deleted_all_the_same(
    fresh_database_url: str, tmp_path: Path
):
    """Each process finishes what the one before it left, and is killed at the next step.

    A database of its own: the background tasks of these servers go on with what other tests left
    in a shared one, and would take the fault that is meant for the deletion.
    """
    async with open_owners_app(fresh_database_url, tmp_path / "files", running=False) as house:
        left: tuple[ApiUser, str] | None = None
        for name, (stage, status) in STAGES.items():
            person = await house.person("Ann")
            subscription = await house.subscribe(person)
            bob = await house.person("Bob")
            await fill(house, person, bob)
            house.keep_files(person)
            async with serving(house, tmp_path) as server:
                if left is not None:
                    await finished(house, *left)
                await kill_at(house, server, person, stage)
                job = await house.job(person)
                assert job is not None, name
                assert job[0] == status, name
            left = person, subscription
        assert left is not None
        async with serving(house, tmp_path):
            await finished(house, *left)


@asynccontextmanager
async def serving(house: OwnersApp, folder: Path) -> AsyncIterator[ServerProcess]:
    async with started_server(house.settings, free_ports(1)[0], folder) as server:
        await server.ready()
        yield server


async def kill_at(house: OwnersApp, server: ServerProcess, person: ApiUser, stage: Stage) -> None:
    async def delete() -> None:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
            user = ApiUser(http, person.token, person.user)
            status = 503  # a server that has just started may shed the first requests
            while status == 503:
                try:
                    response = await user.delete(
                        "/auth/account", json={"confirmPassword": PASSWORD}
                    )
                except httpx.TransportError:
                    return
                status = response.status_code
            raise AssertionError(
                f"not deleted yet, and answered {response.status_code} {response.text}"
            )

    async with trio.open_nursery() as nursery, asynccontextmanager(stage)(house) as reached:
        nursery.start_soon(delete)
        with trio.fail_after(20):
            await reached()
        server.signal(SIGKILL)
        await server.ended()


async def finished(house: OwnersApp, person: ApiUser, subscription: str) -> None:
    """Nobody asks for it: the job is gone on with because it is there."""
    with trio.fail_after(20):
        while await house.job(person):
            await trio.sleep(0.05)
    assert await house.traces_of(person) == []
    assert house.files_of(person) == []
    assert house.stripe.get("subscription", subscription)["status"] == "canceled"
    assert await house.sql("select 1 from auth.users where id = %(id)s", id=person.id) == []
