from __future__ import annotations

import trio
from attrs import define, field

from cookcam.realtime.engineio.heartbeats import Heartbeats


@define(eq=False)
class PingTarget:
    heartbeats: Heartbeats
    responses: bool = True
    pings: list[float] = field(factory=list)
    died: float | None = None

    def ping(self) -> None:
        self.pings.append(trio.current_time())
        if self.responses:
            self.heartbeats.pong(self)

    def ping_timed_out(self) -> None:
        self.died = trio.current_time()


async def run_for(heartbeats: Heartbeats, seconds: float) -> None:
    with trio.move_on_after(seconds):
        await heartbeats.run()


async def test_responding_target_is_pinged_once_an_interval(autojump_clock):
    heartbeats = Heartbeats(25, 20)
    target = PingTarget(heartbeats)
    start = trio.current_time()
    heartbeats.start(target)
    await run_for(heartbeats, 80)
    assert [at - start for at in target.pings] == [25, 50, 75]
    assert target.died is None


async def test_target_without_pong_times_out_after_interval_and_timeout(autojump_clock):
    heartbeats = Heartbeats(25, 20)
    silent, lively = PingTarget(heartbeats, responses=False), PingTarget(heartbeats)
    start = trio.current_time()
    heartbeats.start(silent)
    heartbeats.start(lively)
    await run_for(heartbeats, 110)
    assert silent.died == start + 45
    assert len(silent.pings) == 1
    assert len(lively.pings) == 4


async def test_target_is_pinged_on_time_where_the_timeout_is_longer_than_the_interval(
    autojump_clock,
):
    heartbeats = Heartbeats(1, 20)
    target = PingTarget(heartbeats, responses=False)
    start = trio.current_time()
    heartbeats.start(target)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_for, heartbeats, 4)
        for _ in range(3):
            await trio.sleep(1.1)  # the pong comes while the task sleeps
            heartbeats.pong(target)
    assert [round(at - start, 1) for at in target.pings] == [1.0, 2.1, 3.2]


async def test_late_comers_have_a_rhythm_of_their_own(autojump_clock):
    heartbeats = Heartbeats(10, 5)
    late = PingTarget(heartbeats)
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_for, heartbeats, 40)
        heartbeats.start(PingTarget(heartbeats))
        await trio.sleep(7)
        heartbeats.start(late)
    assert [at - start for at in late.pings] == [17, 27, 37]


async def test_stopped_target_is_not_pinged_and_unsolicited_pongs_are_ignored(autojump_clock):
    heartbeats = Heartbeats(10, 5)
    gone, pushy = PingTarget(heartbeats), PingTarget(heartbeats)
    start = trio.current_time()
    heartbeats.start(gone)
    heartbeats.start(pushy)
    heartbeats.stop(gone)
    heartbeats.pong(pushy)
    heartbeats.pong(gone)
    await run_for(heartbeats, 12)
    assert not gone.pings
    assert [at - start for at in pushy.pings] == [10]
