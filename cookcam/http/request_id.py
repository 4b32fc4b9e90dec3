"""Request ids: the client's own when it is well formed, else a new one.

The id goes into headers, log lines and error bodies, so
only characters that are harmless in all three are accepted.
"""

from __future__ import annotations

import os
import re

HEADER = b"x-request-id"

_well_formed = re.compile(rb"[A-Za-z0-9._-]{1,128}").fullmatch


def request_id(offered: bytes | None) -> str:
    """The offered id if it is 1 to 128 characters of `[A-Za-z0-9._-]`, else a new UUID v4."""
    if offered is not None and _well_formed(offered):
        return offered.decode("ascii")
    return new_request_id()


def new_request_id() -> str:
    """A random UUID (version 4) as text; made by hand since uuid.uuid4 costs four times this."""
    h = os.urandom(16).hex()
    variant = "89ab"[int(h[16], 16) & 3]
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{variant}{h[17:20]}-{h[20:]}"
