"""Hubs of several instances over each bus: deliveries, presence, and a bus that is lost."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import UUID, uuid4

import psycopg
import pytest
import trio
import trio.testing
from attrs import define

from cookcam.config import DatabaseConfig
from cookcam.config.readers import Secret
from cookcam.database import Database
from cookcam.integrations.redis import Redis
from cookcam.realtime.bus import Bus
from cookcam.realtime.bus.local import Exchange, LocalBus
from cookcam.realtime.bus.postgres import MAX_PART_LENGTH, PostgresBus
from cookcam.realtime.bus.redis import RedisBus
from cookcam.realtime.connection import CloseCode
from cookcam.realtime.hub import Hub
from cookcam.realtime.relay import LEASE, PULSE_INTERVAL, Relay
from tests.support.hubs import Recorder, connected, cut_all_sessions
from tests.support.postgres import as_owner
from tests.support.redis import RedisServer, redis_server

ANN = uuid4()


@define(eq=False)
class Instance:
    hub: Hub
    relay: Relay
    bus: Bus
    scope: trio.CancelScope

    def connect(self, user_id: UUID) -> Recorder:
        return connected(self.hub, user_id)


OpenBus = Callable[[], AbstractAsyncContextManager[Bus]]


@pytest.fixture(params=["local", "postgres", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def server(kind: str) -> AsyncIterator[RedisServer | None]:
    if kind != "redis":
        yield None
        return
    with redis_server() as server:
        await server.start()
        yield server


@pytest.fixture
async def open_bus(kind: str, server: RedisServer | None, fresh_database_url: str) -> OpenBus:
    """Opens another bus of the kind that is tested, beside those that are open."""
    exchange = Exchange()

    @asynccontextmanager
    async def opened() -> AsyncIterator[Bus]:
        if server is not None:
            async with Redis.open(server.url) as redis:
                yield RedisBus(redis, "live")
        elif kind == "postgres":
            url = Secret(fresh_database_url)
            async with Database.open(DatabaseConfig(url=url, pool_min=1, pool_max=3)) as database:
                yield PostgresBus(database)
        else:
            yield LocalBus(exchange)

    return opened


@pytest.fixture
async def cluster(open_bus: OpenBus) -> AsyncIterator[object]:
    """`cluster(n)` gives n instances that know each other."""
    async with trio.open_nursery() as nursery:

        @asynccontextmanager
        async def instances(count: int) -> AsyncIterator[list[Instance]]:
            made = [await nursery.start(run_instance, open_bus) for _ in range(count)]
            await until(lambda: all(one.relay.peers == count - 1 for one in made))
            yield made

        yield instances
        nursery.cancel_scope.cancel()


async def run_instance(open_bus: OpenBus, *, task_status: trio.TaskStatus[Instance]) -> None:
    async with open_bus() as bus:
        hub = Hub(5)
        relay = Relay(hub, bus)
        with trio.CancelScope() as scope:
            task_status.started(Instance(hub, relay, bus, scope))
            await relay.run()


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(10):
        while not condition():
            await trio.sleep(0.01)


async def test_what_is_sent_reaches_the_connections_of_all_instances(cluster) -> None:
    ann, ben = uuid4(), uuid4()
    async with cluster(3) as (one, two, three):
        anns, bens = [i.connect(ann) for i in (one, two)], [i.connect(ben) for i in (two, three)]
        one.hub.send_to_user(ben, "hello", {"n": 1})
        two.hub.broadcast("news", {"text": "é☃" * 10_000}, exclude=[ann])
        await until(lambda: all(len(peer.received) == 2 for peer in bens))
        for peer in bens:
            assert sorted(event for event, _ in peer.received) == ["hello", "news"]
            assert dict(peer.received)["news"] == {"text": "é☃" * 10_000}  # longer than a PART
        assert [peer.received for peer in anns] == [[], []]
        assert len("é☃" * 10_000) > MAX_PART_LENGTH


async def test_the_first_event_of_a_new_instance_reaches_the_others(cluster, open_bus) -> None:
    """It is sent before the others have answered the greeting of the new instance."""
    ann = uuid4()
    async with cluster(1) as (one,), trio.open_nursery() as nursery:
        anns = one.connect(ann)
        new = await nursery.start(run_instance, open_bus)
        await until(lambda: new.bus.connected)
        new.hub.send_to_user(ann, "hello", {"n": 1})
        await until(lambda: anns.received == [("hello", {"n": 1})])
        nursery.cancel_scope.cancel()


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


async def test_new_instance_learns_existing_presence(cluster, open_bus: OpenBus) -> None:
    ann = uuid4()
    async with cluster(1) as (one,), trio.open_nursery() as nursery:
        one.connect(ann).join("kitchen")
        late = await nursery.start(run_instance, open_bus)
        await until(lambda: late.hub.is_in_room(ann, "kitchen"))
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("kind", ["postgres", "redis"], indirect=True)
async def test_lost_bus_reconnects_and_users_stay_present(
    cluster,
    server: RedisServer | None,
    fresh_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ann, ben = uuid4(), uuid4()
    async with cluster(2) as (one, two):
        monkeypatch.setattr("cookcam.realtime.relay.LEASE", 0.3)
        here = one.connect(ann)
        here.join("kitchen")
        await until(lambda: two.hub.is_in_room(ann, "kitchen"))
        if server is not None:
            server.kill()
        else:
            cut_all_sessions(fresh_database_url)
        await until(lambda: not two.bus.connected)
        if server is not None:
            await trio.sleep(0.6)  # longer than the lease, without a renewal
            assert two.hub.is_in_room(ann, "kitchen")
        monkeypatch.undo()  # once they are back, each has a whole lease to be heard of
        if server is not None:
            await server.start()
        await until(lambda: one.bus.connected and two.bus.connected)
        assert two.hub.is_in_room(ann, "kitchen")
        listener = two.connect(ben)
        with trio.fail_after(10):
            while not listener.received:
                one.hub.broadcast("again", {})
                await trio.sleep(0.1)
        here.leave("kitchen")
        await until(lambda: not two.hub.is_in_room(ann, "kitchen"))


@pytest.mark.parametrize("kind", ["local", "redis"], indirect=True)
async def test_silent_instance_expires_with_its_users(
    cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cookcam.realtime.relay.LEASE", 0.5)
    ann = uuid4()
    async with cluster(2) as (one, two):
        one.connect(ann).join("kitchen")
        await until(lambda: two.hub.is_in_room(ann, "kitchen"))
        one.scope.cancel()
        await until(lambda: not two.hub.is_in_room(ann, "kitchen"))
        assert two.relay.peers == 0
    assert LEASE > 3 * PULSE_INTERVAL  # three pulses may be lost


async def test_instance_that_died_during_an_outage_expires_a_lease_after_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    relay = Relay(Hub(5), LocalBus())
    relay.joined()
    hello = {"kind": "hello", "rooms": {"kitchen": [str(ANN)]}}
    relay.received("other", json.dumps(hello))
    relay.lost()
    await trio.sleep(LEASE * 10)
    assert relay.is_elsewhere(ANN, "kitchen")
    relay.joined()
    await trio.sleep(LEASE - 1)
    assert relay.is_elsewhere(ANN, "kitchen")
    await trio.sleep(2)
    assert not relay.is_elsewhere(ANN, "kitchen")
    relay.lost()
    relay.joined()
    assert relay.peers == 0  # the dead stay dead


@pytest.mark.parametrize("kind", ["local", "postgres"], indirect=True)
async def test_unknown_bus_messages_are_skipped(cluster, fresh_database_url: str) -> None:
    async with cluster(2) as (one, two):
        with psycopg.connect(as_owner(fresh_database_url)) as stranger:
            stranger.execute("select pg_notify('cookcam_live', unnest(array['', 'a b c d e']))")
        for text in ("no json", "[]", '{"kind": "unheard of"}', '{"kind": "user"}', "{}"):
            one.bus.publish(text)
        connection = two.connect(uuid4())
        one.hub.broadcast("still here", {})
        await until(lambda: connection.received == [("still here", {})])
