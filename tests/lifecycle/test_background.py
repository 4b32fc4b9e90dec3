"""Supervision on the virtual clock: restarts, pauses, and who hears of them."""

from __future__ import annotations

import pytest
import trio
from attrs import define, field

from cookcam.errors import ServiceUnavailable
from cookcam.lifecycle.background import FIRST_PAUSE, LONGEST_PAUSE, Background, Task
from cookcam.lifecycle.work import Work


@define
class Observer:
    failures: list[str] = field(factory=list[str])

    def task_failed(self, name: str, error: Exception) -> None:
        self.failures.append(f"{name}: {error}")


@define
class Failing:
    """A task that notes when it was started and fails `times` times."""

    error: Exception
    times: int
    runs_for: float = 0.0
    starts: list[float] = field(factory=list[float])

    async def __call__(self) -> None:
        self.starts.append(trio.current_time())
        await trio.sleep(self.runs_for)
        if len(self.starts) <= self.times:
            raise self.error

    @property
    def pauses(self) -> list[float]:
        ends = [start + self.runs_for for start in self.starts]
        return [after - end for end, after in zip(ends, self.starts[1:], strict=False)]


async def run_to_the_end(task: Failing) -> Observer:
    observer = Observer()
    background = Background(Work(), [Task("job", task)], observer)
    with trio.fail_after(10_000):
        await background.run()
    return observer


async def test_a_crash_is_told_and_followed_by_a_growing_jittered_pause(autojump_clock) -> None:
    task = Failing(ValueError("broken"), 12)
    observer = await run_to_the_end(task)
    assert observer.failures == ["job: broken"] * 12
    assert FIRST_PAUSE / 2 <= task.pauses[0] <= FIRST_PAUSE
    assert LONGEST_PAUSE / 2 <= task.pauses[-1] <= LONGEST_PAUSE


async def test_an_outage_is_no_crash_and_the_task_is_back_soon(autojump_clock) -> None:
    task = Failing(ServiceUnavailable(), 12)
    observer = await run_to_the_end(task)
    assert observer.failures == []
    assert max(task.pauses) <= 10


async def test_a_task_that_ran_well_begins_again_with_the_first_pause(autojump_clock) -> None:
    task = Failing(ValueError("broken"), 8, runs_for=120)
    await run_to_the_end(task)
    assert max(task.pauses) == pytest.approx(FIRST_PAUSE, rel=0.5)


async def test_a_failing_task_takes_no_other_down(autojump_clock) -> None:
    task, steady = Failing(ValueError("broken"), 5), trio.Event()

    async def other() -> None:
        await trio.sleep(100)
        steady.set()

    background = Background(Work(), [Task("job", task), Task("other", other)], Observer())
    with trio.fail_after(10_000):
        await background.run()
    assert steady.is_set()
