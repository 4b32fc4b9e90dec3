"""One TLS context with the root certificates, shared by all clients of outside services.

A separate context takes 30 ms and a megabyte for each client.
"""

from __future__ import annotations

import ssl
from functools import cache


@cache
def trusted() -> ssl.SSLContext:
    """Return httpx's default context. Call it in a thread: it imports httpx and reads a file.

    Do not use it for HTTP/2: a client sets its protocols on the context.
    """
    import httpx

    return httpx.create_ssl_context()
