"""`cookcam tasks`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from cookcam.cli.common import ENV_FILE, PORT, environment, fail
from cookcam.lifecycle.task_rows import count_tasks, duration, task_rows


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
    yield f"{title}{phase}  up {duration(state['uptime'])}  {1 + count_tasks(root)} tasks"
    rows = [(f"{row.branch}{row.name}", row) for row in task_rows(root, complete=complete)]
    width = min(60, max(len(name) for name, _ in rows))
    yield click.style(f"{'task':<{width}} {'age':>7} {'deadline':>9}  waits on", bold=True)
    for name, row in rows:
        line = f"{name:<{width}} {row.age:>7} {row.deadline:>9}  {row.waits_on}"
        yield click.style(line, fg="red") if row.cancelled else line
