"""The local control socket: what runs in this process, until its very end.

A Unix socket in a folder that only the server's user may enter. It needs no HTTP, so it answers
under overload, and during a drain, when the listeners are closed. A client connects and gets one
JSON document.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import structlog
import trio

from cookcam.lifecycle.groups import service_nursery

SEND_TIMEOUT = 5.0


def control_path(directory: str | None, port: int, *, is_worker: bool = False) -> Path:
    """The socket of this process, which serves `port`, alone or as one of several workers.

    `directory` is STATE_DIRECTORY; without it, a folder of the user for temporary files is used.
    """
    name = f"control-{port}-{os.getpid()}.sock" if is_worker else f"control-{port}.sock"
    return _folder(directory) / name


def control_paths(directory: str | None, port: int) -> list[Path]:
    """The sockets of the processes that serve `port`."""
    folder = _folder(directory)
    return sorted([*folder.glob(f"control-{port}.sock"), *folder.glob(f"control-{port}-*.sock")])


def _folder(directory: str | None) -> Path:
    if directory:
        return Path(directory)
    return Path(tempfile.gettempdir()) / f"cookcam-{os.getuid()}"


@asynccontextmanager
async def serve_control(path: Path | None, describe: Callable[[], Any]) -> AsyncGenerator[None]:
    """Answer on the socket for the block, with what `describe` returns.

    A socket that cannot be opened is logged, and the server runs without it.
    """
    if path is None:
        yield
        return
    try:
        listener = _listen(path)
    except OSError as error:
        structlog.get_logger("cookcam.lifecycle").warning(
            "the control socket cannot be opened", reason=error.strerror or str(error)
        )
        yield
        return

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            with suppress(trio.BrokenResourceError), trio.move_on_after(SEND_TIMEOUT):
                await stream.send_all(orjson.dumps(describe()))

    try:
        async with service_nursery() as nursery:
            nursery.start_soon(
                partial(trio.serve_listeners, answer, [listener]), name="control socket"
            )
            yield
    finally:
        _remove(path)


def _listen(path: Path) -> trio.SocketListener:
    """Raises OSError, also for a folder that others may enter."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = path.parent.stat()
    if owner.st_uid != os.getuid():
        raise PermissionError(f"{path.parent} belongs to another user")
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove(path)  # of a process that was killed
        previous = os.umask(0o177)
        try:
            bound.bind(str(path))
        finally:
            os.umask(previous)
        bound.listen()
    except BaseException:
        bound.close()
        raise
    bound.setblocking(False)
    return trio.SocketListener(trio.socket.from_stdlib_socket(bound))


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def ask_control(path: Path, timeout: float = SEND_TIMEOUT) -> Any:
    """The document of a running server. Blocks. Raises OSError where none listens, ValueError for
    one that is cut off."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(str(path))
        parts: list[bytes] = []
        while part := connection.recv(1 << 16):
            parts.append(part)
    return orjson.loads(b"".join(parts))
