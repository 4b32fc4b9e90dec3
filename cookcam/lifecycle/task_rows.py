"""The rows of a task tree, for `cookcam tasks` and the operations console."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, Final

from attrs import frozen

MAX_ALIKE: Final = 5
"""Siblings with the same name and wait are listed one by one up to this number. Of more, the oldest
is listed, and one row counts the others."""

Node = Mapping[str, Any]
"""A `TaskNode` as plain data."""


@frozen
class TaskRow:
    """A task, or a row that counts tasks. `branch` draws the tree in text, `depth` is the number of
    its ancestors. Empty texts are unknown or do not apply."""

    branch: str
    depth: int
    name: str
    age: str = ""
    deadline: str = ""
    waits_on: str = ""
    cancelled: bool = False


def task_rows(
    node: Node, *, complete: bool = False, first: str = "", rest: str = "", depth: int = 0
) -> Iterator[TaskRow]:
    """The rows of `node` and its descendants. With `complete` every task has its own row
    (`MAX_ALIKE` does not apply). `first` is the prefix of the node's own row in the drawn tree,
    `rest` that of the rows below it."""
    about = node["about"]
    work = " ".join(about[key] for key in ("method", "path", "socketEvent") if key in about)
    name = f"{node['name']} [{work}]" if work else node["name"]
    deadline = "" if node["deadline"] is None else duration(max(node["deadline"], 0.0))
    if node["cancelled"]:
        deadline = "cancelled"
    age = duration(node["age"])
    yield TaskRow(first, depth, name, age, deadline, node["waits_on"], node["cancelled"])
    entries = list(_entries(node, complete))
    for number, entry in enumerate(entries, 1):
        last = number == len(entries)
        branch, below = ("└── ", "    ") if last else ("├── ", "│   ")
        if isinstance(entry, str):
            yield TaskRow(rest + branch, depth + 1, entry)
        else:
            yield from task_rows(
                entry,
                complete=complete,
                first=rest + branch,
                rest=rest + below,
                depth=depth + 1,
            )


def count_tasks(node: Node) -> int:
    """The number of tasks below `node`."""
    return node["omitted"] + sum(1 + count_tasks(child) for child in node["children"])


def duration(seconds: float | None) -> str:
    """A duration in the two largest units: `3.2s`, `5m07s`, `3h05m`, `2d4h`."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if hours == 0:
        return f"{minutes}m{int(seconds % 60):02}s"
    return f"{hours}h{minutes % 60:02}m" if hours < 48 else f"{hours // 24}d{hours % 24}h"


def _entries(node: Node, complete: bool) -> Iterator[Node | str]:
    """The children as nodes, and texts for the rows that count tasks (`MAX_ALIKE`)."""
    for _, group in groupby(node["children"], key=lambda one: (one["name"], one["waits_on"])):
        alike = sorted(group, key=lambda one: one["age"] or 0.0, reverse=True)
        if complete or len(alike) <= MAX_ALIKE:
            yield from alike
        else:
            yield alike[0]
            yield (
                f"… {len(alike) - 1} more of these,"
                f" {duration(alike[-1]['age'])} to {duration(alike[1]['age'])} old"
            )
    if node["omitted"]:
        yield f"… {node['omitted']} more that are not described"
