"""A snapshot of Trio's task tree."""

from __future__ import annotations

from attrs import frozen
from trio.lowlevel import Task, current_task


@frozen
class TaskNode:
    """A task and its child tasks."""

    name: str
    children: tuple[TaskNode, ...]

    def lines(self, depth: int = 0) -> list[str]:
        """Format the tree as indented text, one task per line."""
        nested = [line for child in self.children for line in child.lines(depth + 1)]
        return ["  " * depth + self.name, *nested]

    def count(self) -> int:
        """Count the tasks below this one."""
        return sum(1 + child.count() for child in self.children)


def snapshot(task: Task | None = None) -> TaskNode:
    """Return the tree below `task`, by default below the calling task."""
    task = task or current_task()
    return TaskNode(
        task.name,
        tuple(snapshot(child) for nursery in task.child_nurseries for child in nursery.child_tasks),
    )
