"""The database goes away under load and comes back; a client leaves in the middle of a query."""

from __future__ import annotations

import itertools
from collections import Counter

import psycopg
import trio

from cookcam.database.migrate import migrate
from tests.identity.project import new_user, open_project
from tests.support.postgres import as_owner
from tests.support.private_postgres import private_server
from tests.support.whole_server import ServerUnderTest, environment, whole_server


async def test_requests_get_503_while_the_database_is_away_and_200_after() -> None:
    outcomes: list[int] = []
    bodies: list[dict[str, object]] = []

    pages = itertools.count()

    async def client(server: ServerUnderTest) -> None:
        while True:
            # A page nobody has asked for: what is kept for guests outlives the database.
            response = await server.http.get("/recipes", params={"offset": next(pages)})
            outcomes.append(response.status_code)
            if response.status_code != 200:
                bodies.append(response.json())
            await trio.sleep(0.01)

    async def until(status: int, times: int) -> None:
        seen = len(outcomes)
        while Counter(outcomes[seen:])[status] < times:
            await trio.sleep(0.02)

    with private_server() as postgres:
        await migrate(postgres.url)
        async with (
            open_project(postgres.url) as gotrue,
            whole_server(environment(postgres.url, gotrue)) as server,
            trio.open_nursery() as nursery,
        ):
            with trio.fail_after(60):
                for _ in range(4):
                    nursery.start_soon(client, server)
                await until(200, 20)
                assert (await server.http.get("/health/ready")).status_code == 200

                await trio.to_thread.run_sync(postgres.stop)
                await until(503, 20)
                assert (await server.http.get("/health")).status_code == 200
                await trio.sleep(1.1)  # readiness is cached for a second
                ready = await server.http.get("/health/ready")
                assert (ready.status_code, ready.json()["ready"]) == (503, False)

                await trio.to_thread.run_sync(postgres.start)
                await until(200, 50)
            nursery.cancel_scope.cancel()
    assert set(outcomes) == {200, 503}
    for body in bodies:
        assert body["code"] in ("SERVICE_UNAVAILABLE", "SERVICE_OVERLOADED")
        assert body["statusCode"] == 503
        assert body["error"]
        assert body["requestId"]
    assert server.status == 0


async def test_readiness_responds_within_its_timeout_while_the_database_stalls() -> None:
    with private_server() as postgres:
        await migrate(postgres.url)
        async with (
            open_project(postgres.url) as gotrue,
            whole_server(environment(postgres.url, gotrue)) as server,
        ):
            assert (await server.http.get("/health/ready")).status_code == 200
            await trio.sleep(1.1)  # readiness is cached for a second
            postgres.stall()
            times: list[float] = []
            try:
                for _ in range(3):
                    began = trio.current_time()
                    ready = await server.http.get("/health/ready")
                    times.append(trio.current_time() - began)
                    assert ready.status_code == 503
                    assert ready.json()["services"]["database"]["error"] == "TIMEOUT"
            finally:
                postgres.resume()
            assert min(times) < 2.5  # each of them is later on a machine that is busy in between
            with trio.fail_after(15):
                while (await server.http.get("/health/ready")).status_code != 200:
                    await trio.sleep(0.2)


async def test_query_is_cancelled_when_its_client_disconnects(fresh_database_url: str) -> None:
    """A lock makes the insert wait; the client gives up; nothing waits on the server any more."""
    waiting = (
        "select count(*) from pg_stat_activity where datname = current_database()"
        " and usename = 'cookcam_app' and state = 'active' and wait_event_type = 'Lock'"
    )
    async with open_project(fresh_database_url) as gotrue:
        ann = await new_user(gotrue)
        headers = {"Authorization": f"Bearer {gotrue.issue_token(ann)}"}
        async with whole_server(environment(fresh_database_url, gotrue)) as server:

            async def post() -> None:
                await server.http.post("/recipes", json={"title": "Soup"}, headers=headers)

            owner = as_owner(fresh_database_url)
            with psycopg.connect(owner) as blocker, psycopg.connect(owner) as watcher:
                watcher.autocommit = True  # a transaction would see one moment for ever
                blocker.execute("lock table public.recipes in exclusive mode")

                async def wait_for(count: int) -> None:
                    while (found := watcher.execute(waiting).fetchone()) != (count,):
                        assert found is not None
                        await trio.sleep(0.02)

                with trio.fail_after(20):
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(post)
                        await wait_for(1)
                        nursery.cancel_scope.cancel()
                    await wait_for(0)
            listed = await server.http.get("/recipes", headers=headers)
            assert listed.json()["recipes"] == []
