"""Free ports of the loopback."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, each another one."""
    with ExitStack() as held:
        listeners = [
            held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [listener.getsockname()[1] for listener in listeners]


def neighbouring_ports(count: int) -> int:
    """The first of `count` consecutive free ports, outside the range of outgoing connections.

    Each process looks from another port on, so that two at once do not find the same.
    """
    start = 20_000 + os.getpid() % 5_000 * 2
    for first in range(start, 32_000, count):
        with ExitStack() as held:
            try:
                for port in range(first, first + count):
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return first
    raise AssertionError("no free ports")
