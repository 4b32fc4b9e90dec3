"""Whom the clients of outside services trust: one set of root certificates for all of them.

Reading them takes 30 ms and a megabyte for each client that has its own.
"""

from __future__ import annotations

import ssl
from functools import cache


@cache
def trusted() -> ssl.SSLContext:
    """The context of httpx's own clients. For a thread: it imports httpx and reads a file.

    Not for HTTP/2: a client tells the context which protocols it speaks.
    """
    import httpx

    return httpx.create_ssl_context()
