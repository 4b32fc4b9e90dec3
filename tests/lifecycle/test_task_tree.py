"""The task tree: what a snapshot says of each task, and how `cookcam tasks` shows it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from attrs import asdict
from click.testing import CliRunner

from cookcam.cli.tasks import lines_of, tasks
from cookcam.lifecycle.background import Background, Task
from cookcam.lifecycle.control import ask_control, control_path, serve_control
from cookcam.lifecycle.tree import MAX_CHILDREN, TaskNode, recorded_ages, snapshot
from cookcam.lifecycle.work import Work
from cookcam.observability.context import log_context


def find(node: TaskNode, name: str) -> TaskNode:
    if node.name.endswith(name):
        return node
    for child in node.children:
        try:
            return find(child, name)
        except LookupError:
            continue
    raise LookupError(name)


def state_of(tree: TaskNode) -> dict[str, Any]:
    document = {
        "instance": "host:3000",
        "pid": 4711,
        "release": "cookcam-api@abc",
        "phase": "serving",
        "uptime": 11100.0,
        "tasks": asdict(tree),
    }
    return json.loads(json.dumps(document))


async def answer_slowly() -> None:
    with log_context(method="GET", path="/recipes/<id>", requestId="r1", userId="secret"):
        with trio.move_on_after(30):
            await trio.sleep_forever()


async def test_a_task_has_its_age_deadline_place_and_request(autojump_clock: Any) -> None:
    with recorded_ages() as ages:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer_slowly)
            nursery.start_soon(Background(Work(), [Task("sweep", trio.sleep_forever)]).run)
            await trio.sleep(10)
            tree = snapshot(ages=ages)
            request = find(tree, "answer_slowly")
            assert (request.age, request.deadline, request.cancelled) == (10, 20, False)
            assert request.about == {"method": "GET", "path": "/recipes/<id>", "requestId": "r1"}
            sweep = find(tree, "background sweep")
            assert sweep.deadline is None
            assert sweep.waits_on.startswith("lifecycle/background.py:")
            assert sweep.waits_on.endswith("_supervise, in sleep_forever")
            text = "\n".join(lines_of(state_of(tree)))
            assert "answer_slowly [GET /recipes/<id>]" in text
            assert "secret" not in text
            nursery.cancel_scope.cancel()


async def test_a_cancelled_task_that_has_not_ended_is_marked(autojump_clock: Any) -> None:
    async def stubborn() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True) as cleanup:
                scopes.append(cleanup)
                await trio.sleep_forever()

    scopes: list[trio.CancelScope] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stubborn)
        async with trio.open_nursery() as inner:
            inner.start_soon(trio.sleep_forever, name="inner")
            inner.cancel_scope.cancel()
            assert find(snapshot(), "inner").cancelled
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
            assert not find(snapshot(), "stubborn").cancelled  # it is shielded for its cleanup
        scopes[0].cancel()


async def test_many_tasks_that_do_the_same_are_one_line_and_a_snapshot_is_bounded(
    autojump_clock: Any,
) -> None:
    with recorded_ages() as ages:
        async with trio.open_nursery() as nursery:
            for _ in range(MAX_CHILDREN + 50):
                nursery.start_soon(answer_slowly)
            await trio.sleep(1)
            tree = snapshot(ages=ages)
            assert tree.count() >= MAX_CHILDREN + 50
            short = list(lines_of(state_of(tree)))
            complete = list(lines_of(state_of(tree), complete=True))
            nursery.cancel_scope.cancel()
    assert len(short) < 20 < MAX_CHILDREN < len(complete)
    assert any(f"… {MAX_CHILDREN - 1} more of these, 1.0s to 1.0s old" in line for line in short)
    assert any("more that are not described" in line for line in short)


async def test_the_control_socket_is_for_its_user_alone_and_replaces_a_dead_one(
    tmp_path: Path,
) -> None:
    path = control_path(str(tmp_path / "state"), 3000)
    for _ in range(2):
        async with serve_control(path, lambda: {"phase": "serving"}):
            assert path.stat().st_mode & 0o777 == 0o600
            assert path.parent.stat().st_mode & 0o777 == 0o700
            assert await trio.to_thread.run_sync(ask_control, path) == {"phase": "serving"}
        assert not path.exists()
        path.touch()  # as a process leaves it that was killed
    (tmp_path / "file").touch()
    async with serve_control(tmp_path / "file" / "control.sock", dict):
        pass  # it is logged, and the server runs without


async def test_the_command_shows_every_worker_of_a_port_and_no_other_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    (tmp_path / "control-3000-1.sock").touch()  # as a worker leaves it that was killed
    worker = control_path(str(tmp_path), 3000, is_worker=True)
    with_other_port = control_path(str(tmp_path), 30001)

    def describe(name: str) -> Any:
        return lambda: {**state_of(snapshot()), "instance": name}

    command = partial(CliRunner().invoke, tasks, ["--port", "3000"])
    async with (
        serve_control(control_path(str(tmp_path), 3000), describe("alone")),
        serve_control(worker, describe("worker")),
        serve_control(with_other_port, describe("other")),
    ):
        result = await trio.to_thread.run_sync(command)
    assert result.exit_code == 0
    titles = [line.split()[0] for line in result.output.splitlines() if " pid " in line]
    assert titles == ["worker", "alone"]
    result = await trio.to_thread.run_sync(command)
    assert result.exit_code == 1
    assert "no server of this user serves port 3000 here" in result.output
