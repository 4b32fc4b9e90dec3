"""The nginx of deploy/nginx on unprivileged ports: its files, with another cookcam/host."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.support.commands import ROOT
from tests.support.external import require_program
from tests.support.ports import free_ports
from tests.support.tls import Certificate, make_certificate

DELIVERED = ROOT / "deploy" / "nginx"


@frozen
class Nginx:
    """A running nginx; `port` speaks TLS, `plain_port` redirects to it."""

    folder: Path
    port: int
    plain_port: int
    certificate: Certificate

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def reload(self) -> None:
        """`nginx -s reload`: new workers with the files as they are now."""
        os.kill(int((self.folder / "nginx.pid").read_text()), signal.SIGHUP)

    def log(self) -> list[dict[str, Any]]:
        """The access log; every line of it has to be JSON."""
        return [json.loads(line) for line in (self.folder / "access.log").read_text().splitlines()]


@contextmanager
def running_nginx(
    folder: Path,
    instances: Sequence[int],
    *,
    unlimited: str = "127.0.0.1/32",
    socket_timeout: str = "3600s",
    redirect: str | None = None,
) -> Iterator[Nginx]:
    """nginx in front of the servers on the ports `instances`, stopped after the block.

    Limits do not count the addresses of `unlimited`. `socket_timeout` replaces the hour after which
    a silent socket is closed. `redirect` replaces the port in the redirect to TLS.
    """
    program = require_program("nginx")
    shutil.copytree(DELIVERED, folder, dirs_exist_ok=True)
    server_file = folder / "cookcam" / "server.conf"
    server_file.write_text(server_file.read_text().replace("3600s", socket_timeout))
    port, plain_port = free_ports(2)
    nginx = Nginx(folder, port, plain_port, make_certificate(folder))
    for name, text in _host_files(nginx, instances, unlimited, redirect).items():
        path = folder / "cookcam" / "host" / name
        assert path.exists(), f"{name} is no file of deploy/nginx/cookcam/host"
        path.write_text(text)
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf")]
    subprocess.run([*command, "-t"], check=True, capture_output=True, text=True)
    process = subprocess.Popen([*command, "-g", "daemon off;"], stderr=subprocess.DEVNULL)
    try:
        _wait_until_listening(process, port)
        yield nginx
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


def _host_files(
    nginx: Nginx, instances: Sequence[int], unlimited: str, redirect: str | None
) -> dict[str, str]:
    folder, certificate = nginx.folder, nginx.certificate
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = "".join(
        f"{kind}_temp_path {folder}/temp_{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    delivered = (DELIVERED / "cookcam" / "host" / "plain.conf").read_text()
    [redirect_port] = re.findall(r"^set \$cookcam_redirect_port .*;", delivered, re.MULTILINE)
    if redirect is not None:
        redirect_port = f'set $cookcam_redirect_port "{redirect}";'
    return {
        "main.conf": f"{user} pid {folder}/nginx.pid; error_log {folder}/error.log info;",
        "http.conf": (
            f"access_log {folder}/access.log cookcam;\n{temporary}"
            f"geo $cookcam_unlimited {{ default 0; {unlimited} 1; }}"
        ),
        "upstream.conf": "".join(f"server 127.0.0.1:{p} max_fails=0;" for p in instances),
        "plain.conf": (
            f"listen 127.0.0.1:{nginx.plain_port}; server_name api.test; {redirect_port}"
        ),
        "https.conf": (
            f"listen 127.0.0.1:{nginx.port} ssl http2; server_name api.test;"
            f"ssl_certificate {certificate.cert_file};"
            f"ssl_certificate_key {certificate.key_file};"
        ),
    }


def _wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        assert process.poll() is None, "nginx did not start"
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError("nginx does not listen")
