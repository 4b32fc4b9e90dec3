"""Many clients in one process: raw WebSocket frames and one epoll, so that thousands cost little.

    python -m tests.support.socket_crowd PORT COUNT [--plain] < tokens

One token a line on standard input, used in turn. Prints `connected COUNT` once all have been
welcomed; one line of JSON, a `Figures`, each time all have been sent the event `report`; and, when
the last has ended, another of what they received and how they ended.

Deliveries are events with the server's `time.monotonic_ns()` in a field `at`: clocks of one
machine agree.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import resource
import select
import socket
import struct
import sys
import time
from collections import Counter
from enum import Enum, auto

from attrs import asdict, define, field

AT_ONCE = 50
"""Handshakes under way at a time."""
TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA

AT = b'"at":'
REPORT = b'"report"'
SHUTDOWN = b'"server_shutdown"'
WELCOME = b'"connected"'


@define
class Outcome:
    """What happened to the clients."""

    server_shutdown: int = 0
    disconnect_packets: int = 0
    close_codes: Counter[int] = field(factory=Counter[int])
    ends_after_close: int = 0
    """Connections that ended after both close frames, in order."""
    broken: int = 0


@define
class Figures:
    """Of the deliveries since the last report; milliseconds, and seconds from the first `at` to
    the last arrival."""

    deliveries: int
    seconds: float
    p50: float
    p99: float
    maximum: float

    @classmethod
    def of(cls, delays: list[int], began: int, ended: int) -> Figures:
        delays.sort()

        def share(part: float) -> float:
            return delays[int((len(delays) - 1) * part)] / 1e6 if delays else 0.0

        return cls(len(delays), (ended - began) / 1e9, share(0.5), share(0.99), share(1.0))


class State(Enum):
    UPGRADING = auto()
    JOINING = auto()
    CONNECTED = auto()
    PARTING = auto()
    """Both have said goodbye; the end of the stream is due."""


@define(eq=False)
class Client:
    socket: socket.socket
    token: str
    state: State = State.UPGRADING
    rest: bytes = b""


@define
class Clients:
    port: int
    tokens: list[str]
    count: int
    plain: bool = False
    outcome: Outcome = field(factory=Outcome)
    _poll: select.epoll = field(factory=select.epoll)
    _clients: dict[int, Client] = field(factory=dict[int, Client])
    _begun: int = 0
    _connected: int = 0
    _reported: int = 0
    _delays: list[int] = field(factory=list[int])
    _first: int = 0
    _last: int = 0

    def run(self) -> None:
        """Until the last client has ended."""
        while self._begun < min(self.count, AT_ONCE):
            self._begin()
        while self._clients:
            for descriptor, _ in self._poll.poll():
                client = self._clients[descriptor]
                try:
                    self._read(client)
                except (OSError, EOFError):
                    self._end(client)
                    self.outcome.broken += 1

    def _begin(self) -> None:
        token = self.tokens[self._begun % len(self.tokens)]
        self._begun += 1
        client = Client(socket.create_connection(("127.0.0.1", self.port)), token)
        client.socket.setblocking(False)
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._clients[client.socket.fileno()] = client
        self._poll.register(client.socket, select.EPOLLIN)
        target = "/api/v1/realtime" if self.plain else "/socket.io/?EIO=4&transport=websocket"
        key = base64.b64encode(os.urandom(16)).decode()
        client.socket.send(
            f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            f"Sec-WebSocket-Version: 13\r\n"
            f"{f'Authorization: Bearer {token}' if self.plain else 'X-Crowd: yes'}\r\n\r\n".encode()
        )

    def _read(self, client: Client) -> None:
        data = client.socket.recv(1 << 16)
        if client.state is State.PARTING:
            self._end(client)
            if data:
                self.outcome.broken += 1
            else:
                self.outcome.ends_after_close += 1
            return
        if not data:
            raise EOFError
        data = client.rest + data
        if client.state is State.UPGRADING:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                client.rest = head
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            client.state = State.JOINING
            if not self.plain:
                _send(client, TEXT, b"40" + json.dumps({"token": client.token}).encode())
        client.rest = self._take_frames(client, data)

    def _take_frames(self, client: Client, data: bytes) -> bytes:
        """Handles whole frames; returns the beginning of one that is not."""
        now = time.monotonic_ns()
        start, size = 0, len(data)
        while size - start >= 2:
            body, length = start + 2, data[start + 1] & 0x7F
            if length == 126:
                if size - start < 4:
                    break
                body, length = start + 4, int.from_bytes(data[start + 2 : start + 4], "big")
            end = body + length
            if end > size:
                break
            self._take(client, data[start] & 0x0F, data[body:end], now)
            start = end
        return data[start:]

    def _take(self, client: Client, kind: int, data: bytes, now: int) -> None:
        found = data.find(AT) if kind == TEXT else -1
        if found >= 0:
            begin = found + len(AT)
            end = begin
            while data[end : end + 1].isdigit():
                end += 1
            self._delivered(int(data[begin:end]), now)
        elif data == b"2":
            _send(client, TEXT, b"3")
        elif kind == PING:
            _send(client, PONG, data)
        elif kind == CLOSE:
            self.outcome.close_codes[int.from_bytes(data[:2], "big")] += 1
            _send(client, CLOSE, data[:2])
            client.state = State.PARTING
        elif SHUTDOWN in data:
            self.outcome.server_shutdown += 1
        elif data.startswith(b"41"):
            self.outcome.disconnect_packets += 1
        elif REPORT in data:
            self._report()
        elif client.state is State.JOINING and WELCOME in data:
            client.state = State.CONNECTED
            self._welcomed()

    def _delivered(self, at: int, now: int) -> None:
        if not self._delays:
            self._first = at
        self._last = now
        self._delays.append(now - at)

    def _report(self) -> None:
        self._reported += 1
        if self._reported == self.count:
            figures = Figures.of(self._delays, self._first, self._last)
            self._reported, self._delays = 0, []
            print(json.dumps(asdict(figures)), flush=True)

    def _welcomed(self) -> None:
        self._connected += 1
        if self._connected == self.count:
            print(f"connected {self.count}", flush=True)
        elif self._begun < self.count:
            self._begin()

    def _end(self, client: Client) -> None:
        del self._clients[client.socket.fileno()]
        client.socket.close()


def _send(client: Client, kind: int, data: bytes) -> None:
    """One frame, masked with zeros, which leaves the data as it is."""
    assert len(data) < 1 << 16
    length = (
        bytes([0x80 | len(data)]) if len(data) < 126 else struct.pack("!BH", 0x80 | 126, len(data))
    )
    frame = bytes([0x80 | kind]) + length + bytes(4) + data
    assert client.socket.send(frame) == len(frame)


def allow_descriptors(count: int) -> None:
    """Raises this process's limit of open files, which is often 1024, to at least `count`.

    Raises ValueError where the system allows fewer.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(count, hard)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args()
    allow_descriptors(options.count + 100)
    clients = Clients(options.port, sys.stdin.read().split(), options.count, options.plain)
    clients.run()
    print(json.dumps(asdict(clients.outcome)), flush=True)


if __name__ == "__main__":
    main()
