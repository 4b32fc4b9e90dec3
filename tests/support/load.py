"""A load of keep-alive connections that counts what came back and what did not.

The connections are bare h11 on Trio: nothing is retried, nothing is pooled, and a connection is
given up only when the other side said so or broke it.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator

import h11
import trio
from attrs import define, field, frozen

REQUEST_BOUND = 20.0
"""Seconds for one request; longer counts as failed."""


@frozen
class Target:
    """Where the load goes, as whom; `run` tells this load's recipes from others."""

    port: int
    tls: ssl.SSLContext
    token: str
    run: str


@define
class Load:
    """Connections that read the list of recipes and write a recipe in turn until `stop` is set."""

    target: Target
    connections: int = 8
    pause: float = 0.01
    stop: trio.Event = field(factory=trio.Event)
    answered: dict[str, int] = field(factory=dict[str, int])
    """Requests by method that were answered as they should be."""
    failures: list[str] = field(factory=list[str])
    created: set[str] = field(factory=set[str])
    """The titles that were answered 201."""
    sent: set[str] = field(factory=set[str])
    """All titles that were sent."""
    seconds: list[float] = field(factory=list[float])
    """What each answered request took."""
    reconnects: int = 0
    repeats: bool = False
    """A POST that is answered 502 is sent again, once: clients do so, and nginx never does. It may
    have been stored, and is then answered 409."""
    repeated: list[str] = field(factory=list[str])
    """The titles that were sent again."""
    _to_repeat: list[str] = field(factory=list[str])

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(self.connections):
                nursery.start_soon(self._connection_after_connection, number)

    def figures(self) -> str:
        """How many requests of each method, and how long they took."""
        ordered = sorted(self.seconds)
        shares = (("p50", 0.5), ("p99", 0.99), ("slowest", 1.0))
        times = [f"{n} {ordered[int((len(ordered) - 1) * s)] * 1000:.0f} ms" for n, s in shares]
        return f"{self.answered}, {self.reconnects} reconnects, {', '.join(times)}"

    async def _connection_after_connection(self, number: int) -> None:
        requests = self._requests(number)
        while not self.stop.is_set() or self._to_repeat:
            try:
                await self._use_connection(requests)
            except (OSError, trio.BrokenResourceError) as error:
                self.failures.append(f"connecting: {error!r}")
                await trio.sleep(0.1)
            self.reconnects += 1

    async def _use_connection(self, requests: Iterator[tuple[str, str, str]]) -> None:
        tcp = await trio.open_tcp_stream("127.0.0.1", self.target.port)
        stream = trio.SSLStream(
            tcp, self.target.tls, server_hostname="127.0.0.1", https_compatible=True
        )
        async with stream:
            connection = h11.Connection(h11.CLIENT)
            while not self.stop.is_set() or self._to_repeat:
                method, path, title = next(requests)
                began = trio.current_time()
                try:
                    with trio.fail_after(REQUEST_BOUND):
                        status, body = await self._ask(stream, connection, method, path, title)
                except (
                    trio.BrokenResourceError,
                    trio.TooSlowError,
                    h11.RemoteProtocolError,
                ) as error:
                    self.failures.append(f"{method} {path} {title}: {error!r}")
                    return
                self.seconds.append(trio.current_time() - began)
                self._count(method, status, title, body)
                if connection.our_state is h11.MUST_CLOSE:
                    return
                connection.start_next_cycle()
                await trio.sleep(self.pause)

    def _requests(self, number: int) -> Iterator[tuple[str, str, str]]:
        count = 0
        while True:
            count += 1
            while self._to_repeat:
                yield "POST", "/api/v1/recipes", self._to_repeat.pop()
            yield "GET", "/api/v1/recipes?limit=5", ""
            yield "POST", "/api/v1/recipes", f"Load {self.target.run} {number}-{count}"

    def _count(self, method: str, status: int, title: str, body: bytes) -> None:
        if title and status == 502 and self.repeats and title not in self.repeated:
            self.repeated.append(title)
            self._to_repeat.append(title)
            return
        if status != (201 if title else 200) and (status, title in self.repeated) != (409, True):
            self.failures.append(f"{method} {title}: {status} {body[:200]!r}")
            return
        self.answered[method] = self.answered.get(method, 0) + 1
        if title:
            self.created.add(title)

    async def _ask(
        self,
        stream: trio.SSLStream[trio.SocketStream],
        connection: h11.Connection,
        method: str,
        path: str,
        title: str,
    ) -> tuple[int, bytes]:
        content = json.dumps({"title": title}).encode() if title else b""
        headers = [
            ("Host", "127.0.0.1"),
            ("Authorization", f"Bearer {self.target.token}"),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(content))),
        ]
        if title:
            self.sent.add(title)
        data = connection.send(h11.Request(method=method, target=path, headers=headers)) or b""
        data += connection.send(h11.Data(data=content)) or b""
        data += connection.send(h11.EndOfMessage()) or b""
        await stream.send_all(data)
        status, body = 0, b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some()))
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return status, body
            else:
                raise h11.RemoteProtocolError(f"closed without an answer: {event!r}")
