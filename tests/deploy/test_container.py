"""The Containerfile and the CI workflow fit the repository. Neither is built or run here."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import yaml

from tests.support.commands import ROOT

LINES = (ROOT / "Containerfile").read_text().replace("\\\n", " ").splitlines()


def instructions(name: str) -> list[str]:
    return [line.partition(" ")[2] for line in LINES if line.startswith(f"{name} ")]


def test_image_contains_only_the_program_and_locked_dependencies() -> None:
    sources = [line.split()[0] for line in instructions("COPY") if not line.startswith("--from")]
    assert sources == ["requirements/runtime.lock", "cookcam"]
    assert all((ROOT / source).exists() for source in sources)
    assert "--require-hashes" in instructions("RUN")[0]
    ignored = (ROOT / ".containerignore").read_text()
    assert ignored.splitlines()[:3] == ["*", "!cookcam", "!requirements"]
    assert (ROOT / ".dockerignore").read_text() == ignored


def test_image_starts_the_server_as_an_ordinary_user() -> None:
    program = json.loads(instructions("ENTRYPOINT")[0])
    assert json.loads(instructions("CMD")[0]) == ["serve"]
    assert instructions("USER") == ["10001"]
    done = subprocess.run(
        [sys.executable, *program[1:], "--version"], capture_output=True, cwd=ROOT, check=True
    )
    assert done.stdout.startswith(b"cookcam")


def test_health_check_is_a_valid_program() -> None:
    command = re.search(r"CMD (\[.*\])$", instructions("HEALTHCHECK")[0])
    assert command is not None
    compile(json.loads(command[1])[2], "health check", "exec")


def test_workflow_runs_the_one_command_that_checks_everything() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    steps = workflow["jobs"]["check"]["steps"]
    assert steps[-1]["run"].endswith(".ci/run")
    assert (ROOT / ".ci/run").exists()
    assert workflow["permissions"] == {"contents": "read"}
