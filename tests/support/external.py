"""Programs from outside Python: found, or the test is skipped with the reason.

Where COOKCAM_REQUIRE_EXTERNAL is set, as in CI, a missing program fails the test instead.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

NODE_MODULES = Path(__file__).parents[1] / "clients" / "node_modules"


def require_program(name: str) -> str:
    """The path of a program on PATH. Skips, or fails, where there is none."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    return found or _missing(f"needs the program {name}")


def node_module(name: str) -> Path:
    """The directory of an installed package of tests/clients. Needs Node too."""
    require_program("node")
    package = NODE_MODULES / name
    return package if package.is_dir() else _missing(f"needs `npm ci` in tests/clients for {name}")


def _missing(reason: str) -> NoReturn:
    if os.environ.get("COOKCAM_REQUIRE_EXTERNAL"):
        pytest.fail(f"{reason}, and COOKCAM_REQUIRE_EXTERNAL is set")
    pytest.skip(reason)
