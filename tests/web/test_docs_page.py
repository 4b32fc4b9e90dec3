"""The documentation page in a real browser: drawn from /openapi.json, within the page's own CSP."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.identity.project import open_project
from tests.support.external import require_program
from tests.support.whole_server import environment, whole_server


@pytest.mark.external
async def test_the_page_lists_the_operations_without_breaking_its_policy(
    database_url: str, tmp_path: Path
) -> None:
    chromium = require_program("chromium")
    async with (
        open_project(database_url) as gotrue,
        whole_server(environment(database_url, gotrue)) as server,
    ):
        with trio.fail_after(60):
            result = await trio.run_process(
                [
                    chromium,
                    "--headless",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-quic",
                    "--no-first-run",
                    "--disable-background-networking",
                    "--disable-component-update",
                    "--disable-sync",
                    f"--user-data-dir={tmp_path}",
                    "--enable-logging=stderr",
                    "--virtual-time-budget=5000",
                    "--dump-dom",
                    f"{server.url}/api-docs",
                ],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                deliver_cancel=kill,
            )
    page, log = result.stdout.decode(), result.stderr.decode()
    for shown in ("/api/v1/recipes", "/api/v1/auth/login", "/api/v1/users/profile"):
        assert shown.removeprefix("/api/v1") in page
    assert "Content Security Policy" not in log


async def kill(process: trio.Process) -> None:
    process.kill()
