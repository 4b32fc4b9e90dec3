"""Hubs of several instances over a real PostgreSQL: deliveries, presence, and a lost bus."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import psycopg
import pytest
import trio
from attrs import define, field

from cookcam.config import DatabaseConfig
from cookcam.database import Database
from cookcam.identity import Identity
from cookcam.realtime.announcement import Announcement
from cookcam.realtime.bus import PART, Bus
from cookcam.realtime.closing import CloseCode
from cookcam.realtime.connection import Connection
from cookcam.realtime.hub import Hub
from cookcam.realtime.relay import LEASE, Relay
from cookcam.settings.readers import Secret
from tests.support.postgres import as_owner


@define(eq=False)
class Recorder(Connection):
    """A connection that notes what it is sent."""

    protocol = "test"
    received: list[tuple[str, object]] = field(factory=list[tuple[str, object]], init=False)
    closed: CloseCode | None = field(default=None, init=False)

    def deliver(self, announcement: Announcement) -> bool:
        import orjson

        self.received.append((announcement.event, orjson.loads(orjson.dumps(announcement.body))))
        return True

    def _close(self, code: CloseCode, reason: str) -> None:
        self.closed = code


@define(eq=False)
class Instance:
    hub: Hub
    relay: Relay
    bus: Bus
    scope: trio.CancelScope

    def connect(self, user_id: UUID) -> Recorder:
        identity = Identity(user_id=user_id, claims={})
        connection = Recorder(str(uuid4()), identity, self.hub, address="test")
        self.hub.add(connection)
        return connection


@pytest.fixture
async def cluster(fresh_database_url: str) -> AsyncIterator[object]:
    """`cluster(n)` gives n instances that know each other."""
    async with trio.open_nursery() as nursery:

        @asynccontextmanager
        async def instances(count: int) -> AsyncIterator[list[Instance]]:
            made = [await nursery.start(run_instance, fresh_database_url) for _ in range(count)]
            await until(lambda: all(one.relay.peers == count - 1 for one in made))
            yield made

        yield instances
        nursery.cancel_scope.cancel()


async def run_instance(url: str, *, task_status: trio.TaskStatus[Instance]) -> None:
    config = DatabaseConfig(url=Secret(url), pool_min=1, pool_max=3)
    async with Database.open(config) as database:
        hub, bus = Hub(5), Bus(database)
        relay = Relay(hub, bus)
        with trio.CancelScope() as scope:
            task_status.started(Instance(hub, relay, bus, scope))
            await relay.run()


async def until(condition: object) -> None:
    with trio.fail_after(10):
        while not condition():  # type: ignore[operator]
            await trio.sleep(0.01)


async def test_what_is_sent_reaches_the_connections_of_all_instances(cluster) -> None:
    ann, ben = uuid4(), uuid4()
    async with cluster(3) as (one, two, three):
        anns, bens = [i.connect(ann) for i in (one, two)], [i.connect(ben) for i in (two, three)]
        one.hub.send_to_user(ben, "hello", {"n": 1})
        two.hub.broadcast("news", {"text": "é☃" * 10_000}, exclude_user=ann)
        await until(lambda: all(len(peer.received) == 2 for peer in bens))
        for peer in bens:
            assert sorted(event for event, _ in peer.received) == ["hello", "news"]
            assert dict(peer.received)["news"] == {"text": "é☃" * 10_000}  # longer than a PART
        assert [peer.received for peer in anns] == [[], []]
        assert len("é☃" * 10_000) > PART


async def test_rooms_and_presence_span_instances(cluster) -> None:
    ann, ben = uuid4(), uuid4()
    async with cluster(2) as (one, two):
        here, there = one.connect(ann), two.connect(ben)
        here.join("kitchen")
        there.join("kitchen")
        await until(lambda: one.hub.is_in_room(ben, "kitchen"))
        await until(lambda: two.hub.is_in_room(ann, "kitchen"))
        one.hub.send_to_room("kitchen", "stir", {"seq": 1}, skip=here)
        await until(lambda: there.received == [("stir", {"seq": 1})])
        assert here.received == []

        second = two.connect(ben)
        second.join("kitchen")
        there.leave("kitchen")
        await trio.sleep(0.2)
        assert one.hub.is_in_room(ben, "kitchen")  # with the second connection
        second.leave("kitchen")
        await until(lambda: not one.hub.is_in_room(ben, "kitchen"))

        there.join("kitchen")
        await until(lambda: one.hub.is_in_room(ben, "kitchen"))
        one.hub.empty_room("kitchen")
        await until(lambda: not two.hub.members("kitchen"))


async def test_a_user_is_closed_on_every_instance(cluster) -> None:
    ann = uuid4()
    async with cluster(2) as (one, two):
        here, there = one.connect(ann), two.connect(ann)
        one.hub.close_user(ann, CloseCode.FORBIDDEN, "account disabled")
        await until(lambda: there.closed is CloseCode.FORBIDDEN)
        assert here.closed is CloseCode.FORBIDDEN


async def test_who_comes_later_learns_who_is_there(cluster, fresh_database_url: str) -> None:
    ann = uuid4()
    async with cluster(1) as (one,), trio.open_nursery() as nursery:
        one.connect(ann).join("kitchen")
        late = await nursery.start(run_instance, fresh_database_url)
        await until(lambda: late.hub.is_in_room(ann, "kitchen"))
        nursery.cancel_scope.cancel()


async def test_a_lost_bus_connects_again_and_nobody_is_thought_away(
    cluster, fresh_database_url: str
) -> None:
    ann = uuid4()
    async with cluster(2) as (one, two):
        one.connect(ann).join("kitchen")
        await until(lambda: two.hub.is_in_room(ann, "kitchen"))
        with psycopg.connect(as_owner(fresh_database_url), autocommit=True) as owner:
            owner.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
        await until(lambda: not two.bus.connected)
        await until(lambda: one.bus.connected and two.bus.connected)
        assert two.hub.is_in_room(ann, "kitchen")
        listener = two.connect(uuid4())
        with trio.fail_after(10):
            while not listener.received:
                one.hub.broadcast("again", {})
                await trio.sleep(0.1)


async def test_an_instance_that_falls_silent_is_gone_with_everybody_in_it(
    cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cookcam.realtime.relay.LEASE", 1.0)
    ann = uuid4()
    async with cluster(2) as (one, two):
        one.connect(ann).join("kitchen")
        await until(lambda: two.hub.is_in_room(ann, "kitchen"))
        one.scope.cancel()
        await until(lambda: not two.hub.is_in_room(ann, "kitchen"))
        assert two.relay.peers == 0
    assert LEASE > 3 * 5  # three pulses may be lost


async def test_what_is_not_understood_is_left_out(cluster) -> None:
    async with cluster(2) as (one, two):
        for text in ("no json", "[]", '{"kind": "unheard of"}', '{"kind": "user"}', "{}"):
            one.bus.publish(text)
        connection = two.connect(uuid4())
        one.hub.broadcast("still here", {})
        await until(lambda: connection.received == [("still here", {})])
