"""The Makefile: the first command that a new user runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[1] / "Makefile"

pytestmark = [
    pytest.mark.external,
    pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed"),
]


def run_make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(MAKEFILE, folder)
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def python_of_version(folder: Path, version: tuple[int, int]) -> Path:
    """A program that runs `-c CODE` like a Python of that version, and fails on anything else."""
    script = folder / "python.py"
    script.write_text(
        "import sys\n"
        f"sys.version_info = {version}\n"
        "option, code, *_ = sys.argv[1:]\n"
        "exec(code) if option == '-c' else sys.exit('a virtual environment is requested')\n"
    )
    program = folder / "python"
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{script}' \"$@\"\n")
    program.chmod(0o700)
    return program


def test_old_python_is_named_before_anything_is_installed(tmp_path: Path) -> None:
    old = python_of_version(tmp_path, (3, 10))
    done = run_make(tmp_path, ".venv/bin/python", f"PYTHON={old}")
    assert done.returncode == 2
    assert f"CookCam needs Python 3.11 or newer, and '{old}' is not:" in done.stderr
    assert "virtual environment" not in done.stderr


def test_python_3_11_is_used(tmp_path: Path) -> None:
    python = python_of_version(tmp_path, (3, 11))
    done = run_make(tmp_path, ".venv/bin/python", f"PYTHON={python}")
    assert "CookCam needs" not in done.stderr
    assert "a virtual environment is requested" in done.stderr


def test_help_lists_the_targets(tmp_path: Path) -> None:
    done = run_make(tmp_path, "help")
    targets = [line.split()[1] for line in done.stdout.splitlines()]
    assert {"run", "test", "install", "help"} <= {*targets}
