"""One sandbox for all tests of deployment; each starts the servers it needs on top of it.

Every module here is of the xdist group `deploy`: one worker, one sandbox, one load at a time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import databases_directory
from tests.support.sandbox_process import SandboxProcess, sandbox_process


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[SandboxProcess]:
    # Not a directory of pytest: PostgreSQL runs as another user, without access to those.
    with (
        tempfile.TemporaryDirectory(prefix="cookcam-deploy-", dir=databases_directory()) as folder,
        sandbox_process(Path(folder) / "home") as sandbox,
    ):
        yield sandbox


@pytest.fixture
def sandbox(running_sandbox: SandboxProcess) -> Iterator[SandboxProcess]:
    """The sandbox, without injected faults before and after."""
    yield running_sandbox
    running_sandbox.behave(delay=0.0, failure=None)
