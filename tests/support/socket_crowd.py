"""Many Socket.IO clients in one process: raw WebSocket frames, so that a thousand cost little.

    python -m tests.support.socket_crowd PORT COUNT < tokens

One token a line on standard input, used in turn. Prints `connected COUNT` once all have been
welcomed, and, when the last has ended, one line of JSON: what they were told and how they ended.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import struct
import sys
from collections import Counter

import trio
from attrs import asdict, define, field

AT_ONCE = 50
"""Handshakes under way at a time."""
TEXT, CLOSE = 0x1, 0x8


@define
class Told:
    """What happened to the clients."""

    server_shutdown: int = 0
    disconnect_packets: int = 0
    close_codes: Counter[int] = field(factory=Counter[int])
    ends_after_close: int = 0
    """Connections whose end came after both had said goodbye, and in order."""
    broken: int = 0


@define
class Crowd:
    port: int
    tokens: list[str]
    count: int
    told: Told = field(factory=Told)
    _connected: int = 0
    _handshakes: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(AT_ONCE))

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(self.count):
                nursery.start_soon(self._client, self.tokens[number % len(self.tokens)])

    async def _client(self, token: str) -> None:
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            frames = Frames(stream)
            try:
                async with self._handshakes:
                    await frames.open(self.port)
                    await frames.send(TEXT, b"40" + json.dumps({"token": token}).encode())
                    while not (await frames.receive())[1].startswith(b'42["connected"'):
                        pass
                self._connected += 1
                if self._connected == self.count:
                    print(f"connected {self.count}", flush=True)
                await self._listen(frames)
            except (trio.BrokenResourceError, EOFError):
                self.told.broken += 1

    async def _listen(self, frames: Frames) -> None:
        while True:
            kind, data = await frames.receive()
            if kind == CLOSE:
                self.told.close_codes[int.from_bytes(data[:2], "big")] += 1
                await frames.send(CLOSE, data[:2])
                if await frames.at_end():
                    self.told.ends_after_close += 1
                return
            if data == b"2":
                await frames.send(TEXT, b"3")
            elif data.startswith(b'42["server_shutdown"'):
                self.told.server_shutdown += 1
            elif data.startswith(b"41"):
                self.told.disconnect_packets += 1


@define
class Frames:
    """The frames of one WebSocket, without extensions and fragments."""

    stream: trio.SocketStream
    _buffer: bytearray = field(factory=bytearray)

    async def open(self, port: int) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        await self.stream.send_all(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._buffer:
            await self._more()
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        self._buffer[:] = rest

    async def send(self, kind: int, data: bytes) -> None:
        """One frame, masked with zeros, which leaves the data as it is."""
        assert len(data) < 1 << 16
        length = (
            bytes([0x80 | len(data)])
            if len(data) < 126
            else struct.pack("!BH", 0x80 | 126, len(data))
        )
        await self.stream.send_all(bytes([0x80 | kind]) + length + bytes(4) + data)

    async def receive(self) -> tuple[int, bytes]:
        """Kind and data of the next frame. Raises EOFError at the end of the stream."""
        await self._have(2)
        start, length = 2, self._buffer[1] & 0x7F
        if length == 126:
            await self._have(4)
            start, length = 4, int.from_bytes(self._buffer[2:4], "big")
        await self._have(start + length)
        kind = self._buffer[0] & 0x0F
        data = bytes(self._buffer[start : start + length])
        del self._buffer[: start + length]
        return kind, data

    async def at_end(self) -> bool:
        """Waits for the end of the stream; True when nothing came before it."""
        return not self._buffer and await self.stream.receive_some() == b""

    async def _have(self, size: int) -> None:
        while len(self._buffer) < size:
            await self._more()

    async def _more(self) -> None:
        data = await self.stream.receive_some()
        if not data:
            raise EOFError
        self._buffer += data


def allow_descriptors(count: int) -> None:
    """Raises this process's limit of open files, which is often 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


def main() -> None:
    port, count = int(sys.argv[1]), int(sys.argv[2])
    allow_descriptors(count + 100)
    crowd = Crowd(port, sys.stdin.read().split(), count)
    trio.run(crowd.run)
    print(json.dumps(asdict(crowd.told)), flush=True)


if __name__ == "__main__":
    main()
