"""Supervision on the virtual clock: restarts, backoff and failure reports."""

from __future__ import annotations

import pytest
import trio
from attrs import define, field

from cookcam.errors import ServiceUnavailable
from cookcam.lifecycle.background import INITIAL_BACKOFF, MAX_BACKOFF, Background, Task
from cookcam.lifecycle.work import Work


@define
class Observer:
    failures: list[str] = field(factory=list[str])
    running: dict[str, bool] = field(factory=dict[str, bool])

    def task_running(self, name: str, *, running: bool) -> None:
        self.running[name] = running

    def task_failed(self, name: str, error: Exception) -> None:
        self.failures.append(f"{name}: {error}")


@define
class Failing:
    """A task that records when it was started and fails `times` times."""

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
    def backoffs(self) -> list[float]:
        ends = [start + self.runs_for for start in self.starts]
        return [after - end for end, after in zip(ends, self.starts[1:], strict=False)]


async def run_to_the_end(task: Failing) -> Observer:
    observer = Observer()
    background = Background(Work(), [Task("job", task)], observer)
    with trio.fail_after(10_000):
        await background.run()
    return observer


async def test_failure_is_reported_and_followed_by_a_growing_jittered_backoff(
    autojump_clock,
) -> None:
    task = Failing(ValueError("broken"), 12)
    observer = await run_to_the_end(task)
    assert observer.failures == ["job: broken"] * 12
    assert observer.running == {"job": False}
    assert INITIAL_BACKOFF / 2 <= task.backoffs[0] <= INITIAL_BACKOFF
    assert MAX_BACKOFF / 2 <= task.backoffs[-1] <= MAX_BACKOFF


async def test_outage_is_not_reported_and_the_task_is_restarted_soon(autojump_clock) -> None:
    task = Failing(ServiceUnavailable(), 12)
    observer = await run_to_the_end(task)
    assert observer.failures == []
    assert max(task.backoffs) <= 10


async def test_task_that_ran_well_restarts_with_the_initial_backoff(autojump_clock) -> None:
    task = Failing(ValueError("broken"), 8, runs_for=120)
    await run_to_the_end(task)
    assert max(task.backoffs) == pytest.approx(INITIAL_BACKOFF, rel=0.5)


async def test_failing_task_does_not_stop_other_tasks(autojump_clock) -> None:
    task, steady = Failing(ValueError("broken"), 5), trio.Event()

    async def other() -> None:
        await trio.sleep(100)
        steady.set()

    background = Background(Work(), [Task("job", task), Task("other", other)], Observer())
    with trio.fail_after(10_000):
        await background.run()
    assert steady.is_set()
