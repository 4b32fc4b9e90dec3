"""The canary script in front of real nginx: it passes a good release and takes back a bad one."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from attrs import define, field

from tests.support.commands import ROOT
from tests.support.external import require_program
from tests.support.nginx import Nginx, running_nginx

CANARY = ROOT / "deploy" / "canary.py"


@define(eq=False)
class Instance:
    """A stub server; `fails` makes every answer a 500."""

    fails: bool = False
    answers: int = 0
    _server: ThreadingHTTPServer = field(init=False)

    def __attrs_post_init__(self) -> None:
        instance = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                instance.answers += 1
                self.send_response(500 if instance.fails else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@define(eq=False)
class Traffic:
    """Requests through nginx, until the block ends; `statuses` of the answers."""

    nginx: Nginx
    statuses: Counter[int] = field(factory=Counter[int])
    _stop: threading.Event = field(factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _run(self) -> None:
        with httpx.Client(verify=self.nginx.certificate.client_context(), timeout=10) as client:
            while not self._stop.wait(0.005):
                url = f"{self.nginx.url}/api/v1/recipes"
                response = client.get(url)
                self.statuses[response.status_code] += 1


@pytest.fixture
def instances() -> Iterator[list[Instance]]:
    """Two stable instances and the canary."""
    started = [Instance(), Instance(), Instance()]
    yield started
    for instance in started:
        instance.stop()


def command(nginx: Nginx, canary: Instance, **options: str) -> list[str]:
    program = [
        require_program("nginx"),
        "-p",
        str(nginx.folder),
        "-c",
        f"{nginx.folder}/nginx.conf",
    ]
    settings = {
        "upstream": str(nginx.folder / "cookcam/host/upstream.conf"),
        "log": str(nginx.folder / "access.log"),
        "shares": "10,50",
        "seconds": "2",
        "min-requests": "5",
        "test": " ".join([*program, "-t"]),
        "reload": " ".join([*program, "-s", "reload"]),
        **options,
    }
    pairs = [item for name, value in settings.items() for item in (f"--{name}", value)]
    return [sys.executable, str(CANARY), f"127.0.0.1:{canary.port}", *pairs]


def test_good_release_gets_growing_shares_and_passes(
    tmp_path: Path, instances: list[Instance]
) -> None:
    *stable, canary = instances
    with running_nginx(tmp_path, [one.port for one in stable]) as nginx:
        upstream = nginx.folder / "cookcam/host/upstream.conf"
        before, traffic = upstream.read_text(), Traffic(nginx)
        with traffic.running():
            done = subprocess.run(
                command(nginx, canary), capture_output=True, text=True, timeout=60, check=False
            )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.splitlines()[0] == f"10 % to 127.0.0.1:{canary.port}"
        assert upstream.read_text() == before
        assert set(traffic.statuses) == {200}
        assert 0.05 < canary.answers / sum(one.answers for one in instances) < 0.6


def test_bad_release_is_rolled_back_by_itself(tmp_path: Path, instances: list[Instance]) -> None:
    *stable, canary = instances
    canary.fails = True
    with running_nginx(tmp_path, [one.port for one in stable]) as nginx:
        upstream = nginx.folder / "cookcam/host/upstream.conf"
        before, traffic = upstream.read_text(), Traffic(nginx)
        with traffic.running():
            done = subprocess.run(
                command(nginx, canary, seconds="30"),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        assert done.returncode == 1, done.stdout + done.stderr
        assert done.stdout.splitlines()[-1] == "rolled back: too many errors"
        assert upstream.read_text() == before
        # Noticed at the first share, after a few of its answers.
        assert traffic.statuses[500] / sum(traffic.statuses.values()) < 0.15
        for _ in range(20):  # nginx replaces its workers after its command has ended
            failed, after = canary.answers, Traffic(nginx)
            with after.running():
                threading.Event().wait(0.5)
            if canary.answers == failed:
                break
        assert set(after.statuses) == {200}
        assert canary.answers == failed


def test_canary_without_requests_is_not_passed(tmp_path: Path, instances: list[Instance]) -> None:
    *stable, canary = instances
    with running_nginx(tmp_path, [one.port for one in stable]) as nginx:
        done = subprocess.run(
            command(nginx, canary, seconds="0.6"),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout.splitlines()[-1]) == (
            2,
            "rolled back: fewer than 5 answers",
        )


def test_interrupted_canary_is_rolled_back(tmp_path: Path, instances: list[Instance]) -> None:
    *stable, canary = instances
    with running_nginx(tmp_path, [one.port for one in stable]) as nginx:
        upstream = nginx.folder / "cookcam/host/upstream.conf"
        before = upstream.read_text()
        process = subprocess.Popen(
            command(nginx, canary, seconds="60"), stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(200):
            if upstream.read_text() != before:
                break
            threading.Event().wait(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 3
        assert upstream.read_text() == before
