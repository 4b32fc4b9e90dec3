"""`cookcam dev`: a sandbox in a process of its own, and the server in this one.

The server runs exactly as under `cookcam serve`: it alone gets the terminal's Ctrl-C, drains, and
only then is the sandbox stopped. The sandbox also stops when this process is killed, because it
watches the pipe that this process holds.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
from dotenv import dotenv_values

from cookcam.sandbox.errors import SandboxError

START_BOUND = 60.0  # seconds; a first start makes a database cluster
STOP_BOUND = 15.0

REPLACEABLE = frozenset({"APP_ENV", "OPENAI_API_KEY"})
"""Settings of the sandbox that the environment may replace; the rest tie the server to it."""


def run_dev(
    home: Path,
    port: int,
    environ: Mapping[str, str],
    *,
    serve: Callable[[Mapping[str, str]], int],
    say: Callable[[str], None],
) -> int:
    """Runs `serve` with the settings of a fresh sandbox over `environ`; returns its exit status.

    Raises SandboxError when the sandbox does not start; it has said why by then.
    """
    say(f"starting PostgreSQL and the stand-ins in {home} ...")
    with _child_sandbox(home, port) as announced:
        from_sandbox = dotenv_values(announced["env_file"], interpolate=False)
        values = {name: value or "" for name, value in from_sandbox.items()}
        for line in banner(announced):
            say(line)
        return serve(settings_of_server(values, environ))


def settings_of_server(sandbox: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """The sandbox's settings, with those of the environment that it does not have or may lose."""
    replaceable = REPLACEABLE
    if {"OPENAI_API_KEY", "OPENAI_BASE_URL"} <= environ.keys():
        # Whoever gives both wants the real one; a key alone is no wish to spend money.
        replaceable |= {"OPENAI_BASE_URL"}
    replaced = {
        name: value for name, value in environ.items() if name not in sandbox or name in replaceable
    }
    return {**sandbox, **replaced}


def banner(announced: Mapping[str, Any]) -> list[str]:
    """What a newcomer needs: addresses, somebody to log in as, two things to try."""
    base = announced["base_url"]
    ann = announced["demo_users"][0]
    login = f'{{"email":"{ann["email"]}","password":"{ann["password"]}"}}'
    return [
        "",
        f"  CookCam API     {base}/api/v1",
        f"  documentation   {base}/api-docs",
        f"  health          {base}/health",
        "",
        "  log in as",
        *(
            f"    {user['email']:<24} {user['password']:<14} {user['role'] or ''}".rstrip()
            for user in announced["demo_users"]
        ),
        "",
        "  try",
        f"    curl -s {base}/api/v1/auth/login -H 'Content-Type: application/json' -d '{login}'",
        "",
        "  and with the token of its answer (npm install socket.io-client)",
        "    const { io } = require('socket.io-client')",
        f"    const s = io('{base}', {{ auth: {{ token }} }})",
        "    s.on('connected', console.log); s.on('connect_error', console.error)",
        "",
        "  Ctrl-C stops everything; the data stays in " + str(Path(announced["env_file"]).parent),
        "",
    ]


@contextmanager
def _child_sandbox(home: Path, port: int) -> Generator[dict[str, Any]]:
    """A `cookcam sandbox` that is ready; yields its sandbox.json."""
    command = ["sandbox", "--attached", "--home", str(home), "--port", str(port)]
    child = subprocess.Popen(  # noqa: S603 # our own program
        [sys.executable, "-m", "cookcam", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the server: it has to drain first
    )
    try:
        yield _wait_until_ready(child, home)
    finally:
        _stop(child)


def _wait_until_ready(child: subprocess.Popen[bytes], home: Path) -> dict[str, Any]:
    deadline = time.monotonic() + START_BOUND
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise SandboxError("the sandbox did not start")
        with suppress(OSError, orjson.JSONDecodeError):
            announced = orjson.loads((home / "sandbox.json").read_bytes())
            if announced["pid"] == child.pid:
                return announced
        time.sleep(0.02)
    raise SandboxError(f"the sandbox was not ready within {START_BOUND:g} s")


def _stop(child: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        if child.stdin is not None:
            child.stdin.close()
    try:
        child.wait(STOP_BOUND)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        child.terminate()
        child.wait(STOP_BOUND)
