"""`cookcam dev`: a sandbox in a process of its own, and the server in this one.

The server runs exactly as under `cookcam serve`: it alone gets the terminal's Ctrl-C, drains, and
only then is the sandbox stopped. The sandbox also stops when this process is killed, because it
watches the pipe that this process holds.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any

import orjson
from attrs import define
from dotenv import dotenv_values

from cookcam.sandbox.home import SandboxError
from cookcam.sandbox.postgres import Postgres, stop_postgres

START_TIMEOUT = 60.0  # seconds; a first start makes a database cluster
STOP_TIMEOUT = 15.0  # seconds

REPLACEABLE = frozenset({"APP_ENV", "OPENAI_API_KEY"})
"""Settings of the sandbox that the environment may replace; the rest connect the server to it."""


def run_dev(
    home: Path,
    host: str,
    port: int,
    environ: Mapping[str, str],
    *,
    serve: Callable[[Mapping[str, str], Callable[[], None]], int],
    say: Callable[[str], None],
) -> int:
    """Run `serve` with the settings of a fresh sandbox over `environ`; return its exit status.

    `serve` gets the settings and calls its second argument when the server accepts connections:
    that prints the addresses. The exit status is 1 when the sandbox ended before the server.
    Raises SandboxError when the port is taken or the sandbox does not start.
    """
    check_port(host, port)
    say(f"starting PostgreSQL and the providers' local servers in {home} ...")
    with _child_sandbox(home, host, port, say) as sandbox:
        announced = sandbox.announced
        from_sandbox = dotenv_values(announced["env_file"], interpolate=False)
        values = {name: value or "" for name, value in from_sandbox.items()}

        def show_banner() -> None:
            for line in banner(announced):
                say(line)

        say("starting the server ...")
        status = serve(settings_of_server(values, environ), show_banner)
        return 1 if sandbox.ended_early else status


def check_port(host: str, port: int) -> None:
    """Raises SandboxError, with what to do, when `port` of `host` cannot be listened on."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = f"port {port} is in use: stop that program, or choose another port"
            raise SandboxError(f"{reason}, for instance PORT={port + 1} make run") from error
        raise SandboxError(f"cannot listen on {host}:{port}: {error.strerror}") from error


def settings_of_server(sandbox: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """The sandbox's settings, and those of the environment that do not disconnect it."""
    replaceable = REPLACEABLE
    if {"OPENAI_API_KEY", "OPENAI_BASE_URL"} <= environ.keys():
        # Both together name another OpenAI; a key alone must not spend money by accident.
        replaceable |= {"OPENAI_BASE_URL"}
    replaced = {
        name: value for name, value in environ.items() if name not in sandbox or name in replaceable
    }
    return {**sandbox, **replaced}


def banner(announced: Mapping[str, Any]) -> list[str]:
    """The lines for a new user: addresses, demo accounts, two commands to try."""
    base = announced["base_url"]
    ann = announced["demo_users"][0]
    login = f'{{"email":"{ann["email"]}","password":"{ann["password"]}"}}'
    return [
        "",
        f"  CookCam API     {base}/api/v1",
        f"  documentation   {base}/api-docs",
        f"  health          {base}/health",
        f"  mails           {announced['mail_url']}",
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
        "  and with the token of its response (npm install socket.io-client)",
        "    const { io } = require('socket.io-client')",
        f"    const s = io('{base}', {{ auth: {{ token }} }})",
        "    s.on('connected', console.log); s.on('connect_error', console.error)",
        "",
        "  Ctrl-C stops everything; the data stays in " + str(Path(announced["env_file"]).parent),
        "",
    ]


@define
class _ChildSandbox:
    """A `cookcam sandbox` process that is ready; `announced` is its sandbox.json."""

    process: subprocess.Popen[bytes]
    announced: dict[str, Any]
    ended_early: bool = False
    stopping: bool = False

    def watch(self, say: Callable[[str], None]) -> None:
        """Drain the server when the sandbox ends first: the server depends on it."""
        status = self.process.wait()
        if not self.stopping:
            self.ended_early = True
            say(f"the sandbox ended unexpectedly (status {status}): stopping the server")
            os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _child_sandbox(
    home: Path, host: str, port: int, say: Callable[[str], None]
) -> Generator[_ChildSandbox]:
    """Runs `cookcam sandbox` in a process of its own until the block ends.

    Its PostgreSQL is stopped even when that process was killed.
    """
    command = ["sandbox", "--attached", "--home", str(home), "--host", host, "--port", str(port)]
    child = subprocess.Popen(  # noqa: S603 # our own program
        [sys.executable, "-m", "cookcam", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the server: it has to drain first
    )
    sandbox: _ChildSandbox | None = None
    try:
        sandbox = _ChildSandbox(child, _wait_until_ready(child, home))
        Thread(target=sandbox.watch, args=(say,), daemon=True).start()
        yield sandbox
    finally:
        if sandbox is not None:
            sandbox.stopping = True
        _stop(child)
        if sandbox is not None and sandbox.ended_early:
            stop_postgres(Postgres.from_announcement(sandbox.announced["postgres"]))


def _wait_until_ready(child: subprocess.Popen[bytes], home: Path) -> dict[str, Any]:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise SandboxError("the sandbox did not start")
        with suppress(OSError, orjson.JSONDecodeError):
            announced = orjson.loads((home / "sandbox.json").read_bytes())
            if announced["pid"] == child.pid:
                return announced
        time.sleep(0.02)
    raise SandboxError(f"the sandbox was not ready within {START_TIMEOUT:g} s")


def _stop(child: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        if child.stdin is not None:
            child.stdin.close()
    try:
        child.wait(STOP_TIMEOUT)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        child.terminate()
        child.wait(STOP_TIMEOUT)
