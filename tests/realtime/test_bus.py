"""What the adapters of the bus share: a subscription that comes back, a queue that never waits."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from attrs import define, field

from cookcam.errors import ServiceUnavailable
from cookcam.integrations.pause import Backoff
from cookcam.realtime.bus import Bus, BusMember
from cookcam.realtime.bus.local import Exchange, LocalBus
from cookcam.realtime.bus.publish_queue import MAX_BATCH, MAX_QUEUED, PublishQueue
from cookcam.realtime.bus.subscription import BACKOFF_RESET_AFTER, ReconnectingSubscription


@define
class Server:
    """A subscription that a test gives and takes."""

    lasts: float = 0.0
    there: bool = False
    attempts: list[float] = field(factory=list)
    says: list[str] = field(factory=list)

    @asynccontextmanager
    async def subscribe(self) -> AsyncGenerator[AsyncGenerator[str]]:
        self.attempts.append(trio.current_time())
        if not self.there:
            raise ServiceUnavailable
        yield self._messages()

    async def _messages(self) -> AsyncGenerator[str]:
        for text in self.says:
            yield text
        await trio.sleep(self.lasts)
        raise ServiceUnavailable


@define
class Log(BusMember):
    results: list[str] = field(factory=list)

    def received(self, instance: str, text: str) -> None:
        self.results.append(text)

    def joined(self) -> None:
        self.results.append("joined")

    def lost(self) -> None:
        self.results.append("lost")


async def listen(server: Server, seconds: float) -> Log:
    log = Log()
    listening = ReconnectingSubscription("test", server.subscribe)
    with trio.move_on_after(seconds):
        await listening.run(lambda text: log.received("", text), log.joined, log.lost)
    assert not listening.connected
    return log


@pytest.mark.parametrize("there", [False, True], ids=["refused", "taken and dropped"])
async def test_a_server_that_fails_is_not_hurried(
    there: bool, autojump_clock: trio.testing.MockClock
) -> None:
    server = Server(there=there)
    await listen(server, 60)
    pauses = [b - a for a, b in zip(server.attempts, server.attempts[1:], strict=False)]
    assert 60 / 4 - 1 <= len(server.attempts) <= 60 / 2 + 8
    assert all(pause >= 0.1 for pause in pauses)
    assert all(2 <= pause <= 4 for pause in pauses[4:])
    assert len(set(pauses[4:])) > 3  # by chance


async def test_joined_and_lost_are_called_in_turn(autojump_clock: trio.testing.MockClock) -> None:
    log = await listen(
        Server(there=True, lasts=BACKOFF_RESET_AFTER + 1, says=["hello"]), BACKOFF_RESET_AFTER * 3
    )
    assert log.results[:6] == ["joined", "hello", "lost"] * 2


async def test_a_loss_after_a_steady_time_counts_as_the_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()
    with trio.move_on_after(600):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen, server, 600)
            await trio.sleep(60)
            server.there, server.lasts = True, BACKOFF_RESET_AFTER * 2
            await trio.sleep(60)
            nursery.cancel_scope.cancel()
    connected = server.attempts[-1] - server.attempts[-2]
    assert connected < server.lasts + 0.5


def test_pauses_grow_to_a_bound_and_are_drawn_from_their_upper_half() -> None:
    bounds = Backoff(0.25, 4.0, jitter=lambda pause: pause)
    assert [bounds.next_delay() for _ in range(7)] == [0.25, 0.5, 1, 2, 4, 4, 4]
    bounds.reset()
    assert bounds.next_delay() == 0.25
    drawn = Backoff(1.0, 1.0)
    assert all(0.5 <= drawn.next_delay() <= 1.0 for _ in range(100))


async def test_texts_leave_in_order_and_in_batches() -> None:
    outgoing, sent = PublishQueue(), list[list[str]]()
    texts = [str(number) for number in range(MAX_BATCH + 5)]
    assert all(outgoing.put(text) for text in texts)

    async def send(batch: list[str]) -> None:
        sent.append(batch)

    with trio.move_on_after(0.1):
        await outgoing.send(send)
    assert [len(batch) for batch in sent] == [MAX_BATCH, 5]
    assert [text for batch in sent for text in batch] == texts


async def test_what_cannot_leave_is_lost_and_counted_once(
    capture_log, autojump_clock: trio.testing.MockClock
) -> None:
    outgoing, sent = PublishQueue(), list[str]()
    away = True

    async def send(batch: list[str]) -> None:
        if away:
            raise ServiceUnavailable
        sent.extend(batch)

    async with trio.open_nursery() as nursery:
        for number in range(MAX_QUEUED + 7):
            assert outgoing.put(str(number)) is (number < MAX_QUEUED)
        nursery.start_soon(outgoing.send, send)
        await trio.sleep(1)
        away = False
        outgoing.put("back")
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert sent == ["back"]
    assert [(entry["event"], entry.get("count")) for entry in capture_log] == [
        ("bus takes no messages", None),
        ("bus messages were lost", MAX_QUEUED + 7),
    ]


@pytest.fixture
def capture_log():
    from structlog.testing import capture_logs

    with capture_logs() as entries:
        yield entries


async def test_one_process_is_a_bus_of_its_own(autojump_clock: trio.testing.MockClock) -> None:
    exchange = Exchange()
    buses: list[Bus] = [LocalBus(exchange) for _ in range(3)]
    logs = [Log() for _ in buses]
    assert not buses[0].publish("before the beginning")
    async with trio.open_nursery() as nursery:
        for bus, log in zip(buses, logs, strict=True):
            nursery.start_soon(bus.run, log)
        await trio.sleep(1)
        assert all(bus.connected for bus in buses)
        assert buses[0].publish("hello")
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert [log.results for log in logs] == [
        ["joined", "lost"],
        ["joined", "hello", "lost"],
        ["joined", "hello", "lost"],
    ]
    assert exchange.members == []


async def test_publishing_with_one_instance_does_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    bus = LocalBus()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bus.run, Log())
        await trio.sleep(1)
        assert all(bus.publish("hello") for _ in range(MAX_QUEUED * 2))
        nursery.cancel_scope.cancel()


async def test_member_with_a_full_queue_misses_messages() -> None:
    exchange = Exchange()
    fast, slow = LocalBus(exchange), LocalBus(exchange)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fast.run, Log())
        nursery.start_soon(slow.run, Log())
        await trio.testing.wait_all_tasks_blocked()
        results = [fast.publish("hello") for _ in range(MAX_QUEUED + 2)]  # one is being read
        assert results.count(False) == 1
        nursery.cancel_scope.cancel()
