"""The sandbox's directory: one owner at a time, and the files others read.

`sandbox.env` is what `cookcam serve --env-file` needs, `sandbox.json` says what runs; both appear
complete or not at all, and only their owner may read them.
"""

from __future__ import annotations

import fcntl
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from cookcam.sandbox.errors import SandboxError


@contextmanager
def owned(home: Path) -> Generator[Path]:
    """Makes `home` if need be and holds it; the kernel lets go of it when the process dies.

    Yields its absolute path.
    Raises SandboxError when another process holds it or it cannot be made.
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
    """Writes `NAME=value` lines. No value has a space, a quote or a `#`: none is quoted."""
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
