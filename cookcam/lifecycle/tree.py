"""A snapshot of Trio's task tree: what every task is, how old, what it waits for, its deadline."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import Context
from pathlib import Path
from types import FrameType
from typing import Any, Final

import trio
from attrs import define, field, frozen
from trio.lowlevel import Task, current_root_task, current_task

from cookcam.observability.context import log_fields_of

MAX_CHILDREN: Final = 200
"""Children of one task that a snapshot describes: with thousands of sockets, a complete one would
hold up the event loop for tenths of a second."""

_PACKAGE: Final = Path(__file__).parents[1]
_ABOUT: Final = ("method", "path", "requestId", "socketEvent", "socketId")
"""The log fields that say what a task works on. None of them is personal data."""


@define(eq=False)
class TaskAges(trio.abc.Instrument):
    """Remembers when each task was started."""

    _started: dict[Task, float] = field(factory=dict[Task, float], init=False)

    def task_spawned(self, task: Task) -> None:
        self._started[task] = trio.current_time()

    def task_exited(self, task: Task) -> None:
        self._started.pop(task, None)

    def age(self, task: Task) -> float | None:
        """Seconds since the start of a task; None for one that is older than this object."""
        started = self._started.get(task)
        return None if started is None else trio.current_time() - started


@contextmanager
def recorded_ages() -> Generator[TaskAges]:
    """Records the ages of all tasks that are started in the block."""
    ages = TaskAges()
    trio.lowlevel.add_instrument(ages)
    try:
        yield ages
    finally:
        trio.lowlevel.remove_instrument(ages)


@frozen
class TaskNode:
    """A task and its child tasks; ages and deadlines in seconds from now.

    `waits_on` is the innermost place of this program in which the task waits, and the function of
    Trio there. `deadline` is that of all cancel scopes around it, None without one. `cancelled`:
    its scope was cancelled and it has not ended yet. `about` are log fields that its parent has
    not. `omitted` counts children beyond the first MAX_CHILDREN.
    """

    name: str
    waits_on: str
    age: float | None
    deadline: float | None
    cancelled: bool
    about: Mapping[str, str]
    children: tuple[TaskNode, ...]
    omitted: int

    def count(self) -> int:
        """Count the tasks below this one."""
        return self.omitted + sum(1 + child.count() for child in self.children)


def snapshot(root: Task | None = None, ages: TaskAges | None = None) -> TaskNode:
    """Return the tree below `root`, by default below the first task of the run."""
    return _node(root or current_root_task() or current_task(), ages, {})


def _node(task: Task, ages: TaskAges | None, of_parent: Mapping[str, str]) -> TaskNode:
    about = _about(task.context)
    deadline = task._cancel_status.effective_deadline()  # pyright: ignore[reportPrivateUsage]
    age = None if ages is None else ages.age(task)
    children = [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return TaskNode(
        name=task.name.removeprefix("cookcam."),
        waits_on=_place(task),
        age=None if age is None else round(age, 3),
        deadline=round(deadline - trio.current_time(), 3) if math.isfinite(deadline) else None,
        cancelled=deadline == -math.inf,
        about={key: value for key, value in about.items() if of_parent.get(key) != value},
        children=tuple(
            _node(child, ages, about)
            for child in sorted(children[:MAX_CHILDREN], key=lambda child: child.name)
        ),
        omitted=max(0, len(children) - MAX_CHILDREN),
    )


def _about(context: Context) -> dict[str, str]:
    fields = log_fields_of(context)
    return {name: str(fields[name]) for name in _ABOUT if fields.get(name) is not None}


def _place(task: Task) -> str:
    """For instance `database/pool.py:177 _wait_in_queue, in Event.wait`."""
    if task is current_task():
        return "running"
    place = inner = ""
    for frame, line in task.iter_await_frames():
        file = Path(frame.f_code.co_filename)
        if file.name != "_traps.py":  # of Trio: below every wait
            inner = _function(frame)
        if file.is_relative_to(_PACKAGE):
            place = f"{file.relative_to(_PACKAGE)}:{line} {frame.f_code.co_name}"
    if not place:
        return inner or "about to start"
    return place if inner == place.rpartition(" ")[2] else f"{place}, in {inner}"


def _function(frame: FrameType) -> str:
    code: Any = frame.f_code  # 3.11 has co_qualname
    return str(getattr(code, "co_qualname", code.co_name))
