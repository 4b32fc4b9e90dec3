"""A picture of the task tree: what runs under what, right now."""

from __future__ import annotations

from attrs import frozen
from trio.lowlevel import Task, current_task


@frozen
class TaskNode:
    """A task and the tasks of its nurseries."""

    name: str
    children: tuple[TaskNode, ...]

    def lines(self, depth: int = 0) -> list[str]:
        """The tree as indented text, one task a line."""
        nested = [line for child in self.children for line in child.lines(depth + 1)]
        return ["  " * depth + self.name, *nested]

    def count(self) -> int:
        """Tasks below this one."""
        return sum(1 + child.count() for child in self.children)


def snapshot(task: Task | None = None) -> TaskNode:
    """The tree below `task`, by default below the calling task."""
    task = task or current_task()
    return TaskNode(
        task.name,
        tuple(snapshot(child) for nursery in task.child_nurseries for child in nursery.child_tasks),
    )
