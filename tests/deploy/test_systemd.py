"""The systemd unit: systemd accepts it, and its times agree with what the server gets."""

from __future__ import annotations

import subprocess
from pathlib import Path

from cookcam.config.sections import SHUTDOWN_MARGIN, DrainConfig
from tests.support.external import require_program

UNIT = Path(__file__).parents[2] / "deploy/systemd/cookcam@.service"


def setting(name: str) -> str:
    [line] = [line for line in UNIT.read_text().splitlines() if line.startswith(f"{name}=")]
    return line.partition("=")[2]


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    analyze = require_program("systemd-analyze")
    # The paths of a machine with a release, as those of this one.
    text = UNIT.read_text()
    text = text.replace("User=cookcam", "User=root").replace("Group=cookcam", "Group=root")
    unit = tmp_path / "cookcam@3000.service"
    unit.write_text(text.replace("/srv/cookcam/current", str(tmp_path)))
    result = subprocess.run(
        [analyze, "verify", str(unit)], capture_output=True, text=True, check=False
    )
    about_it = [line for line in result.stderr.splitlines() if "cookcam@" in line]
    assert (result.returncode, about_it) == (0, [])


def test_the_server_knows_when_systemd_kills_it_and_drains_by_then() -> None:
    environment = dict(part.split("=", 1) for part in setting("Environment").split())
    stop = float(setting("TimeoutStopSec"))
    assert float(environment["KILL_TIMEOUT_SECONDS"]) == stop
    drain = DrainConfig()
    assert drain.notice + drain.timeout + SHUTDOWN_MARGIN <= stop
