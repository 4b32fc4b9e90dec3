"""A small program for the tests of the tree: in-memory connections, sockets and jobs.

Everything under test is real (run, the phases, the server, the connections, Hypercorn's
protocol); only the bytes travel through memory, so that the virtual clock may jump.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing
from attrs import define, field

from cookcam.config.sections import DrainConfig
from cookcam.lifecycle.background import Background, Task
from cookcam.lifecycle.run import Program, run
from cookcam.lifecycle.shutdown import PHASES, DrainReport, Shutdown
from cookcam.lifecycle.state import Lifecycle, Phase
from cookcam.lifecycle.work import Work
from cookcam.serving.listener import Peer
from cookcam.serving.server import Server, protocol_config

ASGI = Callable[[Any, Any, Any], Awaitable[None]]


@define
class MemoryListener:
    """A listener with connections from `knock`; while `busy`, they stay in the accept queue."""

    _send: trio.MemorySendChannel[Peer] = field(init=False)
    _receive: trio.MemoryReceiveChannel[Peer] = field(init=False)
    closed: bool = False
    busy: bool = False

    def __attrs_post_init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Peer](100)

    def knock(self) -> trio.StapledStream[Any, Any]:
        if self.closed:
            raise ConnectionRefusedError
        ours, theirs = trio.testing.memory_stream_pair()
        self.let_in(Peer(theirs))
        return ours

    def let_in(self, peer: Peer) -> None:
        self._send.send_nowait(peer)

    def listen(self) -> None:
        pass

    async def accept(self) -> list[Peer]:
        if self.busy:
            await trio.sleep_forever()
        return [await self._receive.receive()]

    def close(self) -> list[Peer]:
        self.closed = True
        waiting: list[Peer] = []
        while True:
            try:
                waiting.append(self._receive.receive_nowait())
            except trio.WouldBlock:
                return waiting


@define
class RecordingSockets:
    """Sockets that record the shutdown calls and take `closing_takes` seconds to close."""

    lifecycle: Lifecycle | None = None
    closing_takes: float = 0.0
    polling_clients: int = 0
    events: list[tuple[str, float, Phase]] = field(factory=list[tuple[str, float, Phase]])

    def _record(self, what: str) -> None:
        assert self.lifecycle is not None
        self.events.append((what, trio.current_time(), self.lifecycle.phase))

    async def notice(self) -> None:
        self._record("notice")

    async def drain(self) -> int:
        await trio.sleep(self.closing_takes)
        self._record("closed")
        return self.polling_clients


async def slow_app(scope: Any, receive: Any, send: Any) -> None:
    """`GET /sleep/N` responds after N seconds; `/forever` never."""
    path: str = scope["path"]
    if path == "/forever":
        await trio.sleep_forever()
    if path.startswith("/sleep/"):
        await trio.sleep(float(path.removeprefix("/sleep/")))
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


@define
class Harness:
    """The running program of one test."""

    settings: DrainConfig = DrainConfig(notice=0.0, linger=2.0, timeout=30.0)
    app: ASGI = slow_app
    jobs: Callable[[Background], Sequence[Task]] = lambda _: ()
    sockets: RecordingSockets = field(factory=RecordingSockets)
    listener: MemoryListener = field(factory=MemoryListener)
    without: Phase | None = None
    closed: list[str] = field(factory=list[str])
    result: tuple[int, DrainReport | None] | None = None
    lifecycle: Lifecycle | None = None
    work: Work | None = None
    server: Server | None = None
    _signals: Any = field(init=False)
    _signal_source: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._signals, self._signal_source = trio.open_memory_channel[int](10)

    def signal(self, number: int = 15) -> None:
        self._signals.send_nowait(number)

    @asynccontextmanager
    async def assemble(self, lifecycle: Lifecycle, work: Work) -> AsyncIterator[Program]:
        self.lifecycle, self.work, self.sockets.lifecycle = lifecycle, work, lifecycle
        background = Background(work)
        background.tasks = self.jobs(background)
        self.server = Server(
            self.app,
            [self.listener],
            protocol_config(keep_alive_seconds=75),
            lifecycle,
            work,
            lambda status: ([(b"content-length", b"2")], b"{}"),
        )
        try:
            yield Program(self.server, self.sockets, background, lambda: self._ready.set())
        finally:
            self.closed.append("services")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Harness]:
        """Runs the program; the body gets it once it is ready and its result after the body."""
        self._ready = trio.Event()

        async def program() -> None:
            self.result = await run(
                self.assemble, self.settings, signals=self._signal_source, make_shutdown=self._make
            )
            self._ready.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(program)
            await self._ready.wait()
            yield self

    _ready: trio.Event = field(init=False, factory=trio.Event)

    def _make(self, **parts: Any) -> Shutdown:
        phases = tuple(step for step in PHASES if step[0] is not self.without)
        return Shutdown(**parts, phases=phases)

    @property
    def status(self) -> int:
        assert self.result is not None
        return self.result[0]

    @property
    def report(self) -> DrainReport:
        assert self.result is not None
        assert self.result[1] is not None
        return self.result[1]


async def ask(stream: Any, path: str, header: str = "accept: */*") -> None:
    await stream.send_all(f"GET {path} HTTP/1.1\r\nhost: test\r\n{header}\r\n\r\n".encode())


async def response(stream: Any) -> bytes:
    """Reads one answer of `slow_app`, or what there is until the end of the stream."""
    received = b""
    while not received.endswith(b"\r\n\r\nok"):
        chunk = await stream.receive_some()
        if not chunk:
            break
        received += bytes(chunk)
    return received


async def at_end(stream: Any) -> bool:
    """Waits until the peer has closed its side; True when it did without sending more."""
    return await stream.receive_some() == b""
