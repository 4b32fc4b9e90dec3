"""The sandbox's directory, which one process at a time can use, the files in it, and its ports.

`sandbox.env` is for `cookcam serve --env-file`, `sandbox.json` lists what runs. Both are replaced
atomically, and only the user who started the sandbox can read them.
"""

from __future__ import annotations

import fcntl
import socket
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson


class SandboxError(Exception):
    """Keeps the sandbox from starting. One line for the user: what is wrong and what to do."""


@contextmanager
def owned(home: Path) -> Generator[Path]:
    """Create `home` unless it exists, lock it for this process, and yield its absolute path.

    The kernel releases the lock when the process dies. Raises SandboxError when another process
    has the lock, or the directory cannot be created.
    """
    home = home.resolve()
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = (home / "lock").open("w")
    except OSError as error:
        raise SandboxError(f"{home} cannot be used: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SandboxError(
                f"a sandbox already runs in {home}: stop it, or choose another --home"
            ) from None
        yield home


def write_env(path: Path, values: Mapping[str, str]) -> None:
    """Writes `NAME=value` lines, without quotes: values contain no space, quote or `#`."""
    _write(path, "".join(f"{name}={value}\n" for name, value in values.items()).encode())


def write_secret(path: Path, content: str) -> None:
    _write(path, content.encode())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    _write(path, orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")


def _write(path: Path, content: bytes) -> None:
    unfinished = path.with_suffix(path.suffix + ".unfinished")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    unfinished.write_bytes(content)
    unfinished.replace(path)


def free_port(wanted: int = 0, host: str = "127.0.0.1") -> int:
    """`wanted` if it can be listened on, else another free one.

    The issuer of tokens contains the port, so a local server should find the same one every time.
    """
    if wanted <= 65535:
        with suppress(OSError), socket.create_server((host, wanted)) as found:
            return found.getsockname()[1]
    return free_port(host=host)


def reachable_host(host: str) -> str:
    """The address that other devices use for a server that listens on `host`.

    For all interfaces (0.0.0.0, ::) that is this machine's address in its network: the source
    address of a datagram to a documentation address (RFC 5737), of which none is sent.
    """
    if host not in ("0.0.0.0", "::"):  # noqa: S104 # compares, binds nothing
        return "127.0.0.1" if host == "localhost" else host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"  # no network
        return probe.getsockname()[0]
