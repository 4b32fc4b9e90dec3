"""`cookcam tasks`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from cookcam.cli.common import ENV_FILE, PORT, environment, fail

MAX_ALIKE = 5
"""More siblings than this that do the same are shown as one line."""

Node = Mapping[str, Any]


@click.command()
@ENV_FILE
@PORT
@click.option("--json", "as_json", is_flag=True, help="The tree as JSON.")
@click.option("--all", "complete", is_flag=True, help="Also tasks that do the same, one by one.")
@click.option(
    "--watch",
    type=click.FloatRange(min=0.1),
    is_flag=False,
    flag_value=1.0,
    metavar="[SECONDS]",
    help="Show the tree again and again, until the server has ended.",
)
def tasks(
    env_file: Path | None, port: int, as_json: bool, complete: bool, watch: float | None
) -> None:
    """Show what the server on this machine does: every task, its age, deadline and what it waits
    for.

    Works under overload and during a drain, and shows each worker of `serve --workers`. Needs the
    server's user and its STATE_DIRECTORY, if it has one.
    """
    from cookcam.lifecycle.control import ask_control, control_paths

    directory = environment(env_file).get("STATE_DIRECTORY")
    connected = False
    while True:
        states: list[Any] = []
        for path in control_paths(directory, port):
            with suppress(OSError, ValueError):  # of a process that was killed
                states.append(ask_control(path))
        if not states:
            if not connected:
                fail(f"no server of this user serves port {port} here")
            click.echo("the server has ended")
            return
        if not as_json and watch is not None and sys.stdout.isatty():
            click.clear()
        for state in states:
            lines = [json.dumps(state)] if as_json else lines_of(state, complete=complete)
            click.echo("\n".join(lines))
        if watch is None:
            return
        connected = True
        time.sleep(watch)


def lines_of(state: Mapping[str, Any], *, complete: bool = False) -> Iterator[str]:
    """The lines of a control document; `complete` without groups of tasks that do the same."""
    root = state["tasks"]
    title = f"{state['instance']}  pid {state['pid']}  {state['release']}  "
    phase = click.style(state["phase"], fg="green" if state["phase"] == "serving" else "yellow")
    yield f"{title}{phase}  up {_duration(state['uptime'])}  {1 + _count(root)} tasks"
    rows = list(_rows(root, "", "", complete))
    width = min(60, max(len(name) for name, *_ in rows))
    yield click.style(f"{'task':<{width}} {'age':>7} {'deadline':>9}  waits on", bold=True)
    for name, age, deadline, place, cancelled in rows:
        line = f"{name:<{width}} {age:>7} {deadline:>9}  {place}"
        yield click.style(line, fg="red") if cancelled else line


def _rows(
    node: Node, first: str, rest: str, complete: bool
) -> Iterator[tuple[str, str, str, str, bool]]:
    about = node["about"]
    work = " ".join(about[key] for key in ("method", "path", "socketEvent") if key in about)
    name = f"{node['name']} [{work}]" if work else node["name"]
    deadline = "" if node["deadline"] is None else f"{node['deadline']:.1f}s"
    if node["cancelled"]:
        deadline = "cancelled"
    yield f"{first}{name}", _duration(node["age"]), deadline, node["waits_on"], node["cancelled"]
    entries = list(_entries(node, complete))
    for number, entry in enumerate(entries, 1):
        last = number == len(entries)
        branch, below = ("└── ", "    ") if last else ("├── ", "│   ")
        if isinstance(entry, str):
            yield f"{rest}{branch}{entry}", "", "", "", False
        else:
            yield from _rows(entry, rest + branch, rest + below, complete)


def _entries(node: Node, complete: bool) -> Iterator[Node | str]:
    """The children; of many that do the same the oldest, and a line that counts the others."""
    for _, group in groupby(node["children"], key=lambda one: (one["name"], one["waits_on"])):
        alike = sorted(group, key=lambda one: one["age"] or 0.0, reverse=True)
        if complete or len(alike) <= MAX_ALIKE:
            yield from alike
        else:
            yield alike[0]
            yield (
                f"… {len(alike) - 1} more of these,"
                f" {_duration(alike[-1]['age'])} to {_duration(alike[1]['age'])} old"
            )
    if node["omitted"]:
        yield f"… {node['omitted']} more that are not described"


def _count(node: Node) -> int:
    return node["omitted"] + sum(1 + _count(child) for child in node["children"])


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if hours == 0:
        return f"{minutes}m{int(seconds % 60):02}s"
    return f"{hours}h{minutes % 60:02}m" if hours < 48 else f"{hours // 24}d{hours % 24}h"
