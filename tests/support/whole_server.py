"""The whole program in this process, on a real port, as `cookcam serve` assembles it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache, partial
from signal import SIGTERM

import httpx
import trio
from attrs import define, field

from cookcam.app import open_program
from cookcam.app.process import open_listener
from cookcam.config import keys, loading
from cookcam.lifecycle.run import run
from cookcam.lifecycle.shutdown import DrainReport
from cookcam.sandbox.gotrue import Gotrue

# The check of an RSA key takes 50 ms of processor time, for each server of each test.
keys._private_key = cache(keys._private_key)  # pyright: ignore[reportPrivateUsage]


@define
class ServerUnderTest:
    """`status` and `report` are those of the run once it has ended."""

    port: int
    http: httpx.AsyncClient
    _signals: trio.MemorySendChannel[int]
    status: int | None = None
    report: DrainReport | None = None
    ended: trio.Event = field(factory=trio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self, signal: int = SIGTERM) -> None:
        self._signals.send_nowait(signal)


def environment(database_url: str, gotrue: Gotrue, **changes: str) -> dict[str, str]:
    """A complete environment of a test; `changes` are variables."""
    return {
        "APP_ENV": "test",
        "PORT": "0",
        "DATABASE_URL": database_url,
        "DB_POOL_MIN": "1",
        "DB_POOL_MAX": "8",
        "SUPABASE_URL": gotrue.url,
        "SUPABASE_ANON_KEY": gotrue.anon_key,
        "SUPABASE_SERVICE_ROLE_KEY": gotrue.service_role_key,
        "OPENAI_API_KEY": "sk-test",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",  # not the real service
        "ENABLE_RATE_LIMITING": "false",
        "DRAIN_LINGER_SECONDS": "0",
        **changes,
    }


@asynccontextmanager
async def whole_server(environ: dict[str, str]) -> AsyncGenerator[ServerUnderTest]:
    """Serves for the length of the block, then drains as on SIGTERM."""
    settings = loading.load(environ)
    listener = open_listener(settings)
    send, receive = trio.open_memory_channel[int](2)
    ready = trio.Event()
    base_url = f"http://127.0.0.1:{listener.port}/api/v1"
    async with httpx.AsyncClient(base_url=base_url, timeout=30) as http:
        server = ServerUnderTest(listener.port, http, send)

        async def program() -> None:
            server.status, server.report = await run(
                partial(open_program, settings, [listener], on_ready=lambda _: ready.set()),
                settings.drain,
                signals=receive,
            )
            server.ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(program)
            await ready.wait()
            try:
                yield server
            finally:
                if not server.ended.is_set():
                    with trio.CancelScope(shield=True), trio.move_on_after(10):
                        server.stop()
                        await server.ended.wait()
