"""An error of one connection is reported, and ends neither a shared task nor a delivery."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
import trio
import trio.testing
from attrs import define, field

from cookcam.identity import Identity
from cookcam.observability.metrics import Metrics
from cookcam.realtime.bus.local import Exchange, LocalBus
from cookcam.realtime.connection import CloseCode, Connection
from cookcam.realtime.engineio.heartbeats import Heartbeats
from cookcam.realtime.engineio.writer import WriteScheduler
from cookcam.realtime.hub import Hub
from cookcam.realtime.relay import Relay
from cookcam.realtime.server_events import ServerEvent
from cookcam.realtime.service import FailureReports
from cookcam.realtime.tokens import WARNING, TokenWatch
from tests.support.hubs import Recorder, connected
from tests.support.realtime import ApiUser, Reports, open_live

ANN, BOB = uuid4(), uuid4()


@define(eq=False)
class BrokenConnection(Recorder):
    """Every write raises."""

    def deliver(self, event: ServerEvent) -> bool:
        raise RuntimeError("a bug")


@define(eq=False)
class BrokenTarget:
    """A ping target and scheduled writer whose every method raises."""

    calls: list[str] = field(factory=list[str])

    def ping(self) -> None:
        self.calls.append("ping")
        raise RuntimeError("a bug")

    def ping_timed_out(self) -> None:
        self.calls.append("ping_timed_out")
        raise RuntimeError("a bug")

    def catch_up(self) -> None:
        self.calls.append("catch_up")
        raise RuntimeError("a bug")

    def fail(self) -> None:
        self.calls.append("fail")
        raise RuntimeError("another bug")


@define(eq=False)
class WorkingTarget:
    heartbeats: Heartbeats | None = None
    calls: list[str] = field(factory=list[str])

    def ping(self) -> None:
        self.calls.append("ping")
        assert self.heartbeats is not None
        self.heartbeats.pong(self)

    def ping_timed_out(self) -> None:
        self.calls.append("ping_timed_out")

    def catch_up(self) -> None:
        self.calls.append("catch_up")

    def fail(self) -> None:
        self.calls.append("fail")


@define(eq=False)
class Failures:
    tasks: list[str] = field(factory=list[str])

    def __call__(self, task: str, error: Exception) -> None:
        self.tasks.append(task)


def broken(hub: Hub, user_id: UUID = ANN, **identity: Any) -> BrokenConnection:
    connection = BrokenConnection(
        str(uuid4()), Identity(user_id=user_id, **identity), hub, address="test"
    )
    hub.add(connection)
    return connection


async def test_heartbeats_continue_after_a_session_that_cannot_be_pinged(autojump_clock):
    failures = Failures()
    heartbeats = Heartbeats(10, 5, failures)
    bad, good = BrokenTarget(), WorkingTarget(heartbeats)
    heartbeats.start(bad)
    heartbeats.start(good)
    with trio.move_on_after(35):
        await heartbeats.run()
    assert good.calls == ["ping"] * 3
    assert bad.calls == ["ping", "ping_timed_out"]
    assert failures.tasks == ["heartbeats"] * 2


async def test_write_scheduler_continues_after_a_writer_that_fails(autojump_clock):
    failures = Failures()
    scheduler = WriteScheduler(burst=1, on_failure=failures)
    bad, good = BrokenTarget(), WorkingTarget()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run)
        assert scheduler.may_write(good)
        assert not scheduler.may_write(bad)
        assert not scheduler.may_write(good)
        await trio.testing.wait_all_tasks_blocked()
        assert good.calls == ["catch_up"]
        assert bad.calls == ["catch_up", "fail"]
        assert failures.tasks == ["write_scheduler"] * 2
        nursery.cancel_scope.cancel()


async def test_token_watch_continues_after_a_connection_that_fails(autojump_clock):
    failures = Failures()
    hub = Hub(5, on_failure=failures)
    soon = datetime.fromtimestamp(time.time() + WARNING / 2, UTC)
    bad = broken(hub, expires_at=soon)
    good = Recorder(str(uuid4()), Identity(user_id=BOB, expires_at=soon), hub, address="test")
    hub.add(good)
    with trio.move_on_after(10):
        await TokenWatch(hub, time.time).run()
    assert [name for name, _ in good.received] == ["token_expiring"]
    assert bad.closed is CloseCode.SERVER_FAULT
    assert failures.tasks == ["token_watch"]


def test_delivery_continues_after_a_connection_that_fails():
    failures = Failures()
    hub = Hub(5, on_failure=failures)
    before, bad, after = connected(hub, ANN), broken(hub), connected(hub, BOB)
    assert hub.broadcast("news", {}) == 2
    assert before.received == after.received == [("news", {})]
    assert bad.closed is CloseCode.SERVER_FAULT
    assert hub.connection_count() == 2
    assert failures.tasks == ["delivery"]


def test_event_that_cannot_be_encoded_raises_and_closes_no_connection():
    hub = Hub(5)
    ann = connected(hub, ANN)
    with pytest.raises(TypeError):
        hub.broadcast("news", {"what": object()})
    assert ann.closed is None


async def test_relay_continues_after_a_message_that_fails(autojump_clock, monkeypatch):
    failures = Failures()
    exchange = Exchange()
    hubs = Hub(5), Hub(5, on_failure=failures)
    async with trio.open_nursery() as nursery:
        for hub in hubs:
            nursery.start_soon(Relay(hub, LocalBus(exchange)).run)
        await trio.testing.wait_all_tasks_blocked()
        receiver = connected(hubs[1], ANN)

        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("a bug")

        with monkeypatch.context() as patch:
            patch.setattr(Hub, "deliver_to_room", fail)
            with pytest.raises(RuntimeError):
                hubs[0].send_to_room("kitchen", "lost", {})
            await trio.testing.wait_all_tasks_blocked()
        hubs[0].broadcast("news", {})
        await trio.testing.wait_all_tasks_blocked()
        assert receiver.received == [("news", {})]
        assert failures.tasks == ["relay"]
        nursery.cancel_scope.cancel()


async def test_failed_connection_of_each_protocol_is_closed_and_counted(autojump_clock):
    async with open_live() as live, live.plain(ApiUser()) as ann, live.socketio(ApiUser()) as bob:
        (first, _) = live.hub.connections
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(first), "deliver", _raise)
            assert live.hub.broadcast("news", {"n": 1}) == 1
        assert await bob.expect("news") == {"n": 1}
        assert await ann.close_code() == CloseCode.SERVER_FAULT
        assert live.metrics.connection_errors_total.of("delivery")._value.get() == 1
        (record,) = [line for line in live.log if line.get("task") == "delivery"]
        assert record["level"] == "ERROR"
        assert len(live.reports.captured) == 1


def test_failure_reports_log_count_and_report():
    metrics, reports = Metrics(), Reports()
    error = RuntimeError("a bug")
    FailureReports(metrics, reports)("heartbeats", error)
    assert metrics.connection_errors_total.of("heartbeats")._value.get() == 1
    assert reports.captured == [(error, None)]


def _raise(connection: Connection, event: ServerEvent) -> bool:
    raise RuntimeError(json.dumps({"bug": event.event}))
