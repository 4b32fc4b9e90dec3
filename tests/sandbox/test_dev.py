"""`cookcam dev` without the server: its sandbox, and the settings that the server gets."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from cookcam.config import load
from cookcam.sandbox.dev import banner, run_dev, settings_of_server
from cookcam.sandbox.home import SandboxError, reachable_host
from tests.support.commands import clean_environment

pytestmark = pytest.mark.xdist_group("sandbox-process")


def alive(home: Path) -> bool:
    return (home / "sandbox.json").exists() or (home / "postgres" / "postmaster.pid").exists()


def test_the_server_gets_the_sandbox_under_the_environment(home: Path):
    lines: list[str] = []
    settings: dict[str, str] = {}

    def serve(values: Mapping[str, str], on_started: Callable[[], None]) -> int:
        settings.update(values)
        assert alive(home)
        assert "Sourdough-1" not in "\n".join(lines)  # printed once the server accepts connections
        on_started()
        return 7

    environ = {
        "LOG_LEVEL": "debug",
        "APP_ENV": "test",
        "OPENAI_API_KEY": "sk-mine",
        "DATABASE_URL": "postgresql://production/cookcam",
        "PORT": "1",
    }
    assert run_dev(home, "127.0.0.1", 0, environ, serve=serve, say=lines.append) == 7
    assert not alive(home)
    config = load(settings)
    assert config.environment == "test"
    assert config.observability.log_level == "debug"
    assert config.providers.openai_api_key.reveal() == "sk-mine"
    assert config.providers.openai_base_url.startswith("http://127.0.0.1:")
    assert "cookcam_app" in config.database.url.reveal()
    assert config.server.port not in (0, 1)
    shown = "\n".join(lines)
    assert f"http://127.0.0.1:{config.server.port}/api-docs" in shown
    assert "Sourdough-1" in shown


def test_the_real_openai_takes_a_key_and_an_address():
    sandbox = {"OPENAI_API_KEY": "sk-sandbox", "OPENAI_BASE_URL": "http://127.0.0.1:3110/v1"}
    real = {"OPENAI_API_KEY": "sk-mine", "OPENAI_BASE_URL": "https://api.openai.com/v1"}
    assert settings_of_server(sandbox, real) == real
    for name in real:
        settings = settings_of_server(sandbox, {name: real[name]})
        assert settings["OPENAI_BASE_URL"] == sandbox["OPENAI_BASE_URL"]


def test_the_sandbox_stops_when_serving_fails(home: Path):
    def serve(_: Mapping[str, str], on_started: Callable[[], None]) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_dev(home, "127.0.0.1", 0, {}, serve=serve, say=lambda _: None)
    assert not alive(home)


def test_a_sandbox_that_does_not_start_is_an_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    (tmp_path / "file").write_text("")
    with pytest.raises(SandboxError, match="the sandbox did not start"):
        run_dev(
            tmp_path / "file" / "home",
            "127.0.0.1",
            0,
            {},
            serve=lambda _values, _ready: 0,
            say=lambda _: None,
        )
    assert "cannot be used: Not a directory" in capfd.readouterr().err


def test_the_sandbox_stops_when_its_parent_is_killed(home: Path):
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from cookcam.sandbox.dev import run_dev\n"
        "serve = lambda values, on_started: print('up', flush=True) or time.sleep(60)\n"
        "run_dev(Path(sys.argv[1]), '127.0.0.1', 0, {}, serve=serve, say=lambda line: None)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(home)],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "up\n"
    sandbox = json.loads((home / "sandbox.json").read_text())["pid"]
    assert os.getsid(sandbox) != os.getsid(holder.pid)  # no Ctrl-C of the terminal reaches it
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    deadline = time.monotonic() + 15
    while alive(home) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(home)


def test_the_banner_has_lines_that_can_be_copied():
    announced = {
        "base_url": "http://127.0.0.1:3000",
        "mail_url": "http://127.0.0.1:3170",
        "env_file": "/somewhere/.cookcam/sandbox.env",
        "demo_users": [
            {"email": "ann@cookcam.example", "password": "Sourdough-1", "role": None},
            {"email": "admin@cookcam.example", "password": "Headchef-3", "role": "admin"},
        ],
    }
    lines = [line.strip() for line in banner(announced)]
    (curl,) = [line for line in lines if line.startswith("curl")]
    body = json.loads(curl.partition("-d ")[2].strip("'"))
    assert body == {"email": "ann@cookcam.example", "password": "Sourdough-1"}
    assert "const s = io('http://127.0.0.1:3000', { auth: { token } })" in lines
    assert "mails           http://127.0.0.1:3170" in lines
    assert "admin@cookcam.example    Headchef-3     admin" in lines


def test_a_taken_port_is_reported_before_anything_starts(home: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        lines: list[str] = []
        with pytest.raises(SandboxError, match=f"port {port} is in use.*PORT={port + 1} make run"):
            run_dev(home, "127.0.0.1", port, {}, serve=lambda *_: 0, say=lines.append)
    assert lines == []
    assert not alive(home)


def test_a_sandbox_that_is_killed_ends_the_server_and_its_postgresql(home: Path):
    ended = threading.Event()
    previous = signal.signal(signal.SIGTERM, lambda *_: ended.set())
    lines: list[str] = []

    def serve(values: Mapping[str, str], on_started: Callable[[], None]) -> int:
        os.kill(json.loads((home / "sandbox.json").read_text())["pid"], signal.SIGKILL)
        assert ended.wait(15)
        return 0

    try:
        assert run_dev(home, "127.0.0.1", 0, {}, serve=serve, say=lines.append) == 1
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert "the sandbox ended unexpectedly (status -9): stopping the server" in lines
    assert not (home / "postgres" / "postmaster.pid").exists()


def test_other_devices_get_addresses_they_can_reach(home: Path):
    lines: list[str] = []

    def serve(values: Mapping[str, str], on_started: Callable[[], None]) -> int:
        on_started()
        host = values["SUPABASE_URL"].removeprefix("http://").rpartition(":")[0]
        assert values["API_BASE_URL"].startswith(f"http://{host}:")
        assert f"{host}:" in "\n".join(lines)
        assert values["STRIPE_API_BASE"].startswith(f"http://{host}:")
        assert host == reachable_host("0.0.0.0")
        return 0

    assert run_dev(home, "0.0.0.0", 0, {}, serve=serve, say=lines.append) == 0
