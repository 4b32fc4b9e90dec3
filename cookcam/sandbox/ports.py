"""Ports of the stand-ins."""

from __future__ import annotations

import socket
from contextlib import suppress


def free_port(wanted: int = 0) -> int:
    """`wanted` if it can be listened on, else another free one.

    The issuer of tokens contains the port, so a stand-in should find the same one every time.
    """
    if wanted <= 65535:
        with suppress(OSError), socket.create_server(("127.0.0.1", wanted)) as found:
            return found.getsockname()[1]
    return free_port()
