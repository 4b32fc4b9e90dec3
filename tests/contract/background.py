"""A house whose Trio runs in a thread of its own, for test tools that know no Trio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import trio
from attrs import frozen
from structlog.testing import capture_logs

from tests.contract.server import ContractServer, open_contract_server

T = TypeVar("T")


@frozen
class BackgroundServer:
    """What in `server` waits is to be called through `run`."""

    server: ContractServer
    logs: list[Any]
    """What the server logged: kept from pytest's own files, which this thread may not touch."""
    _token: trio.lowlevel.TrioToken

    def run(self, call: Callable[..., Awaitable[T]], *args: object) -> T:
        """What the call returns, run beside the server."""
        return trio.from_thread.run(call, *args, trio_token=self._token)


@contextmanager
def background_server(database_url: str, home: Path, **environ: str) -> Generator[BackgroundServer]:
    """Serves for the length of the block, then drains."""
    opened: Future[tuple[BackgroundServer, trio.Event]] = Future()

    async def live() -> None:
        leave = trio.Event()
        async with open_contract_server(database_url, home, **environ) as server:
            token = trio.lowlevel.current_trio_token()
            opened.set_result((BackgroundServer(server, logs, token), leave))
            await leave.wait()

    def main() -> None:
        try:
            trio.run(live)
        except BaseException as exc:
            if opened.done():
                raise
            opened.set_exception(exc)

    with capture_logs() as logs:
        thread = Thread(target=main)
        thread.start()
        try:
            server, leave = opened.result(timeout=60)
            try:
                yield server
            finally:
                trio.from_thread.run_sync(leave.set, trio_token=server._token)
        finally:
            thread.join(timeout=30)
