"""Closed accounts: announced by the database's triggers, or found by asking."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest
import trio
from attrs import define

from cookcam.config import DatabaseConfig
from cookcam.config.readers import Secret
from cookcam.database import Database
from cookcam.identity import AccountStates
from cookcam.realtime.accounts import AccountWatch
from cookcam.realtime.connection import CloseCode
from cookcam.realtime.hub import Hub
from tests.support.hubs import Recorder, connected, cut_all_sessions
from tests.support.postgres import as_owner
from tests.support.realtime import ApiUser, open_live
from tests.support.users import create_user

INTERVAL = 0.05

BAN = "update auth.users set banned_until = now() + '1 hour' where id = %s"
DELETE = "delete from auth.users where id = %s"


@define
class Watched:
    """A hub whose connections are watched."""

    url: str
    hub: Hub
    watch: AccountWatch

    async def connect(self, user_id: UUID) -> Recorder:
        """Returns when the connection was found to be of an account."""
        connection = connected(self.hub, user_id)
        await until(lambda: self.knows(connection))
        return connection

    def knows(self, connection: Recorder) -> bool:
        return connection in self.watch._checked

    def sql(self, statement: LiteralString, user_id: UUID) -> None:
        with psycopg.connect(as_owner(self.url)) as owner:
            owner.execute(statement, (user_id,))


@pytest.fixture
async def watched(
    database_url: str, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Watched]:
    monkeypatch.setattr("cookcam.realtime.accounts.INTERVAL", INTERVAL)
    config = DatabaseConfig(url=Secret(database_url), pool_min=1, pool_max=2)
    async with Database.open(config) as database:
        hub = Hub(5)
        watch = AccountWatch(hub, database, AccountStates(database))
        nursery.start_soon(watch.run)
        yield Watched(database_url, hub, watch)
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(10):
        while not condition():
            await trio.sleep(0.01)


@pytest.mark.parametrize(
    "statement",
    [
        BAN,
        DELETE,
        "delete from public.users where id = %s",
        "update auth.users set deleted_at = now() where id = %s",
    ],
)
async def test_a_closed_account_is_announced(watched: Watched, statement: LiteralString) -> None:
    ann, ben = await create_user(watched.url), await create_user(watched.url)
    hers = [await watched.connect(ann), await watched.connect(ann)]
    his = await watched.connect(ben)
    watched.sql("select pg_notify('cookcam_account_closed', 'not ' || %s)", ann)
    watched.sql(statement, ann)
    await until(lambda: all(each.closed is CloseCode.FORBIDDEN for each in hers))
    assert his.closed is None


async def test_what_closes_no_account_closes_no_connection(watched: Watched) -> None:
    ann, ben = await create_user(watched.url), await create_user(watched.url)
    hers, his = await watched.connect(ann), await watched.connect(ben)
    for statement in (
        "update auth.users set last_sign_in_at = now() where id = %s",
        "update auth.users set banned_until = now() - interval '1 hour' where id = %s",
        "update auth.users set banned_until = null where id = %s",
        "update public.users set name = 'Anna' where id = %s",
    ):
        watched.sql(statement, ann)
    watched.sql(BAN, ben)
    await until(lambda: his.closed)  # announced after all of those
    assert hers.closed is None
    assert (await watched.connect(ann)).closed is None  # a ban that is over is none


async def test_connection_of_a_closed_account_is_closed(watched: Watched) -> None:
    ann, ben = await create_user(watched.url), await create_user(watched.url)
    watched.sql(BAN, ann)
    banned, unknown = connected(watched.hub, ann), connected(watched.hub, uuid4())
    await until(lambda: banned.closed and unknown.closed)
    assert (await watched.connect(ben)).closed is None


async def test_missed_notifications_are_found_by_checking_connections(
    watched: Watched,
) -> None:
    ann, ben = await create_user(watched.url), await create_user(watched.url)
    hers, his = await watched.connect(ann), await watched.connect(ben)
    cut_all_sessions(watched.url)
    watched.sql(BAN, ann)
    await until(lambda: hers.closed is CloseCode.FORBIDDEN)
    assert his.closed is None


async def test_each_connection_is_checked_once(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    requested: list[list[UUID]] = []
    fetch = Database.fetch_all_as

    async def noted(self: Database, actor, model, statement: LiteralString, /, **params):
        requested.append(params["users"])
        return await fetch(self, actor, model, statement, **params)

    monkeypatch.setattr(Database, "fetch_all_as", noted)
    ann = await create_user(watched.url)
    await watched.connect(ann)
    await watched.connect(ann)
    await trio.sleep(3 * INTERVAL)
    assert requested == [[ann], [ann]]


async def test_the_server_closes_an_account_in_both_protocols(autojump_clock) -> None:
    ann, ben = ApiUser(name="Ann"), ApiUser(name="Ben")
    async with (
        open_live() as live,
        live.plain(ann) as phone,
        live.socketio(ann) as tablet,
        live.plain(ben),
    ):
        assert live.realtime.close_account(ann.id) == 2
        assert await phone.close_code() == await tablet.close_code() == 4403
        assert live.realtime.connections() == 1
        assert live.realtime.close_account(ann.id) == 0
