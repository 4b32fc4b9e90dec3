"""The `cookcam` command as a real process with a clean environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]


def clean_environment(**settings: str) -> dict[str, str]:
    """What a process needs to run at all, and `settings`; nothing of the machine's own."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), **settings}


def start(
    *arguments: str, cwd: Path, env: Mapping[str, str] | None = None, **options: object
) -> subprocess.Popen[str]:
    """Starts `cookcam` with `arguments` in `cwd`; its output is text."""
    return subprocess.Popen(
        [sys.executable, "-m", "cookcam", *arguments],
        cwd=cwd,
        env=clean_environment(**(env or {})),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )


def run(
    *arguments: str, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 30
) -> subprocess.CompletedProcess[str]:
    """Runs `cookcam` to its end."""
    process = start(*arguments, cwd=cwd, env=env, stdin=subprocess.DEVNULL)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
