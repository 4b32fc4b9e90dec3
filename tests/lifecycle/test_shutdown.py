"""Every phase of shutdown on the virtual clock, with and without the phase."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from cookcam.config.sections import DrainConfig
from cookcam.lifecycle.background import Background, Task
from cookcam.lifecycle.run import Program
from cookcam.lifecycle.state import Lifecycle, Phase
from cookcam.lifecycle.work import Work
from cookcam.serving.listener import Peer
from cookcam.serving.states import DRAIN_IDLE_GRACE, RESPONSE_TIMEOUT
from tests.support.program import Harness, MemoryListener, ask, at_end, response


def about(seconds: float) -> object:
    return pytest.approx(seconds, abs=0.1)


async def let_settle() -> None:
    await trio.sleep(0.001)


class TestNotice:
    async def scenario(self, without: Phase | None) -> Harness:
        harness = Harness(settings=DrainConfig(notice=5, linger=0, timeout=30), without=without)
        async with harness.running():
            harness.signal()
        return harness

    async def test_sockets_are_notified_before_the_listener_closes(self, autojump_clock) -> None:
        harness = await self.scenario(None)
        assert [(what, phase) for what, _, phase in harness.sockets.events] == [
            ("notice", Phase.NOTICE),
            ("closed", Phase.DRAINING),
        ]
        notified_at, closed_at = (at for _, at, _ in harness.sockets.events)
        assert closed_at - notified_at == about(5)

    async def test_without_the_phase_sockets_are_not_notified(self, autojump_clock) -> None:
        harness = await self.scenario(Phase.NOTICE)
        assert "notice" not in [what for what, _, _ in harness.sockets.events]

    async def test_new_connections_are_served_during_the_notice(self, autojump_clock) -> None:
        harness = Harness(settings=DrainConfig(notice=5, linger=0, timeout=30))
        async with harness.running():
            harness.signal()
            await trio.sleep(1)
            late = harness.listener.knock()
            await ask(late, "/")
            assert b"connection: close" in (await response(late)).lower()


class TestClosingTheListener:
    async def scenario(self, without: Phase | None) -> tuple[Harness, bytes]:
        listener = MemoryListener(busy=True)
        harness = Harness(listener=listener, without=without)
        async with harness.running():
            waiting = listener.knock()  # in the accept queue when the signal comes
            await ask(waiting, "/")
            harness.signal()
            with trio.move_on_after(60):
                return harness, await response(waiting)
            return harness, b""
        raise AssertionError

    async def test_connection_in_the_accept_queue_is_served(self, autojump_clock) -> None:
        harness, received = await self.scenario(None)
        assert received.startswith(b"HTTP/1.1 200")
        assert harness.listener.closed
        assert harness.status == 0

    async def test_without_the_phase_the_listener_stays_open_and_the_drain_is_cut(
        self, autojump_clock
    ) -> None:
        harness, received = await self.scenario(Phase.CLOSING)
        assert received == b""
        assert not harness.listener.closed


class TestDraining:
    async def scenario(self, without: Phase | None) -> tuple[Harness, bytes]:
        harness = Harness(without=without)
        async with harness.running():
            client = harness.listener.knock()
            await ask(client, "/sleep/20")
            await let_settle()
            harness.signal()
            received = await response(client)
            await client.aclose()
        return harness, received

    async def test_a_request_in_flight_runs_to_its_end(self, autojump_clock) -> None:
        harness, received = await self.scenario(None)
        assert received.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in received.lower()
        assert harness.status == 0
        assert harness.report.finished == {"request": 1}
        assert harness.report.seconds["draining"] == about(20)
        assert harness.report.tasks_left == 0

    async def test_without_the_phase_the_request_is_cut(self, autojump_clock) -> None:
        harness, received = await self.scenario(Phase.DRAINING)
        assert received == b""
        assert harness.report.cut == {"request": 1}
        assert harness.status == 1

    async def test_polling_clients_are_sockets_in_the_report(self, autojump_clock) -> None:
        harness = Harness(settings=DrainConfig(notice=0, linger=0, timeout=30))
        harness.sockets.polling_clients = 2
        async with harness.running():
            harness.signal()
        assert harness.report.finished == {"socket": 2}

    async def test_idle_connection_of_a_proxy_stays_open_until_the_linger_ends(
        self, autojump_clock
    ) -> None:
        harness = Harness(settings=DrainConfig(notice=0, linger=7, timeout=30))
        async with harness.running():
            idle = harness.listener.knock()
            await ask(idle, "/", "x-forwarded-for: 192.0.2.1")
            await response(idle)
            before = trio.current_time()
            harness.signal()
            assert await at_end(idle)
            assert trio.current_time() - before == about(7)
            await idle.aclose()
        assert harness.status == 0

    async def test_response_on_a_lingering_connection_says_connection_close(
        self, autojump_clock
    ) -> None:
        harness = Harness(settings=DrainConfig(notice=0, linger=7, timeout=30))
        async with harness.running():
            idle = harness.listener.knock()
            await ask(idle, "/", "x-forwarded-for: 192.0.2.1")
            assert b"connection: close" not in (await response(idle)).lower()
            harness.signal()
            await trio.sleep(3)
            await ask(idle, "/", "x-forwarded-for: 192.0.2.1")
            assert b"connection: close" in (await response(idle)).lower()
            await idle.aclose()
        assert harness.report.seconds["draining"] == about(3)

    async def test_idle_connection_of_a_client_closes_at_once(self, autojump_clock) -> None:
        harness = Harness(settings=DrainConfig(notice=0, linger=7, timeout=30))
        async with harness.running():
            idle = harness.listener.knock()
            await ask(idle, "/")
            await response(idle)
            before = trio.current_time()
            harness.signal()
            assert await at_end(idle)
            assert trio.current_time() - before == about(DRAIN_IDLE_GRACE)
            await idle.aclose()
        assert harness.status == 0

    async def test_sockets_close_while_requests_finish(self, autojump_clock) -> None:
        harness = Harness()
        harness.sockets.closing_takes = 4
        async with harness.running():
            client = harness.listener.knock()
            await ask(client, "/sleep/6")
            await let_settle()
            harness.signal()
            await response(client)
            await client.aclose()
        assert harness.report.seconds["draining"] == about(6)


class TestBackground:
    async def scenario(self, without: Phase | None) -> tuple[Harness, list[str]]:
        events: list[str] = []

        def jobs(background: Background) -> list[Task]:
            async def job() -> None:
                while True:
                    with background.unit("count"):
                        events.append("began")
                        await trio.sleep(5)
                        events.append("ended")
                    await trio.sleep(1)

            return [Task("counter", job)]

        harness = Harness(jobs=jobs, without=without)
        async with harness.running():
            await trio.sleep(1)
            harness.signal()
        return harness, events

    async def test_job_finishes_its_current_unit_and_begins_no_other(self, autojump_clock) -> None:
        harness, events = await self.scenario(None)
        assert events == ["began", "ended"]
        assert harness.report.finished == {"job": 1}
        assert harness.status == 0

    async def test_without_the_phase_the_unit_is_recorded_as_cut(self, autojump_clock) -> None:
        harness, events = await self.scenario(Phase.BACKGROUND)
        assert events == ["began"]
        assert harness.report.cut_names == ("job count",)
        assert harness.status == 1


class TestCutting:
    async def scenario(self, without: Phase | None) -> Harness:
        harness = Harness(settings=DrainConfig(notice=0, linger=0, timeout=10), without=without)
        with trio.move_on_after(RESPONSE_TIMEOUT / 2) as scope:
            async with harness.running():
                client = harness.listener.knock()
                await ask(client, "/forever")
                await let_settle()
                harness.signal()
                await at_end(client)
        assert scope.cancelled_caught is (without is Phase.CUTTING)
        return harness

    async def test_request_that_never_ends_is_cut_at_the_deadline(self, autojump_clock) -> None:
        before = trio.current_time()
        harness = await self.scenario(None)
        assert trio.current_time() - before == about(10)
        assert harness.status == 1
        assert harness.report.cut == {"request": 1}
        assert harness.report.cut_names == ("request GET /forever",)
        assert harness.report.tasks_left == 0

    async def test_without_the_phase_the_program_never_ends(self, autojump_clock) -> None:
        harness = await self.scenario(Phase.CUTTING)
        assert harness.result is None


class TestClosing:
    async def test_services_close_after_the_last_task(self, autojump_clock) -> None:
        harness = Harness()
        async with harness.running():
            client = harness.listener.knock()
            await ask(client, "/sleep/3")
            await let_settle()
            harness.signal()
            await response(client)
            assert harness.closed == []
            await client.aclose()
        assert harness.closed == ["services"]
        assert harness.lifecycle is not None
        assert harness.lifecycle.phase is Phase.CLOSED

    async def test_services_that_do_not_close_are_cancelled_after_the_timeout(
        self, autojump_clock
    ) -> None:
        harness = StubbornServices()
        before = trio.current_time()
        async with harness.running():
            harness.signal()
        assert trio.current_time() - before == about(5)


class StubbornServices(Harness):
    @asynccontextmanager
    async def assemble(self, lifecycle: Lifecycle, work: Work) -> AsyncIterator[Program]:
        async with super().assemble(lifecycle, work) as program:
            yield program
            await trio.sleep_forever()


class TestSignals:
    async def test_a_second_signal_cuts_at_once(self, autojump_clock) -> None:
        harness = Harness()
        async with harness.running():
            client = harness.listener.knock()
            await ask(client, "/forever")
            await let_settle()
            before = trio.current_time()
            harness.signal()
            await trio.sleep(1)
            harness.signal(2)
        assert trio.current_time() - before == about(1)
        assert harness.status == 1
        assert harness.report.cut_names == ("request GET /forever",)

    async def test_a_signal_during_start_up_ends_the_program_cleanly(self, autojump_clock) -> None:
        harness = Harness()
        harness.signal()
        async with harness.running():
            pass
        assert harness.status == 0

    async def test_readiness_ends_with_the_first_signal(self, autojump_clock) -> None:
        harness = Harness(settings=DrainConfig(notice=5, linger=0, timeout=30))
        async with harness.running():
            assert harness.lifecycle is not None
            assert not harness.lifecycle.draining
            harness.signal()
            await let_settle()
            assert harness.lifecycle.draining


class FailingListener(MemoryListener):
    broken = False

    async def accept(self) -> list[Peer]:
        accepted = await super().accept()
        if self.broken:
            raise OSError("the listener failed")
        return accepted


class TestCoreFailure:
    async def test_failed_core_task_drains_first_and_gives_status_1(self, autojump_clock) -> None:
        listener = FailingListener()
        harness = Harness(listener=listener)
        async with harness.running():
            client = listener.knock()
            await ask(client, "/sleep/3")
            await let_settle()
            listener.broken = True
            listener.knock()
            assert (await response(client)).startswith(b"HTTP/1.1 200")
            await client.aclose()
        assert harness.status == 1
        assert harness.report.reason == "failure"
