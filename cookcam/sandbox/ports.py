"""Addresses and ports of the sandbox's servers."""

from __future__ import annotations

import socket
from contextlib import suppress


def free_port(wanted: int = 0, host: str = "127.0.0.1") -> int:
    """`wanted` if it can be listened on, else another free one.

    The issuer of tokens contains the port, so a local server should find the same one every time.
    """
    if wanted <= 65535:
        with suppress(OSError), socket.create_server((host, wanted)) as found:
            return found.getsockname()[1]
    return free_port(host=host)


def reachable_host(host: str) -> str:
    """The address that other devices use for a server that listens on `host`.

    For all interfaces (0.0.0.0, ::) that is this machine's address in its network: the source
    address of a datagram to a documentation address (RFC 5737), of which none is sent.
    """
    if host not in ("0.0.0.0", "::"):  # noqa: S104 # compares, binds nothing
        return "127.0.0.1" if host == "localhost" else host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"  # no network
        return probe.getsockname()[0]
