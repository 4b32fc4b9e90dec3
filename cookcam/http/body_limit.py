"""How large a request body may be, per path, enforced before and while it is read.

Source: `spec/http-api-core.md` §3.6, §9.14: 1 MiB, except photographs (10 MiB), and those that come
as base64 text in JSON, which makes them a third longer (15 MiB).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from cookcam.errors import BadRequest, PayloadTooLarge

MEBIBYTE = 1024 * 1024
DEFAULT_LIMIT = 1 * MEBIBYTE

Receive = Callable[[], Awaitable[Any]]

_LARGER: tuple[tuple[re.Pattern[str], int], ...] = (
    (re.compile(r"/api(/v1)?/scan/analyze"), 15 * MEBIBYTE),
    (re.compile(r"/api(/v1)?/scan/ingredients"), 10 * MEBIBYTE),
    # A form around the picture.
    (re.compile(r"/api(/v1)?/auth/profile/photo"), 11 * MEBIBYTE),
    (re.compile(r"/api(/v1)?/recipes/[^/]+/upload-completion-photo"), 15 * MEBIBYTE),
)


def limit_for(path: str) -> int:
    """The bound of a canonical path, bytes."""
    for pattern, limit in _LARGER:
        if pattern.fullmatch(path):
            return limit
    return DEFAULT_LIMIT


def bounded(
    receive: Receive, path: str, headers: Mapping[bytes, bytes], http_version: str
) -> Receive:
    """`receive`, made to fail with PayloadTooLarge once the body passes the bound of `path`.

    Raises PayloadTooLarge at once when the declared length says so already, and BadRequest when it
    is no number. What arrives is counted whatever was declared. Only an HTTP/1 request with neither
    a length nor a transfer coding has no body (RFC 9112 §6.3).
    """
    declared = headers.get(b"content-length")
    if declared is None:
        if b"transfer-encoding" not in headers and http_version < "2":
            return receive
    elif not declared.isdigit():
        raise BadRequest("The Content-Length header is not a number")
    elif len(declared) > 15 or int(declared) > limit_for(path):
        raise PayloadTooLarge()
    return _counted(receive, limit_for(path))


def _counted(receive: Receive, limit: int) -> Receive:
    seen = 0

    async def counting_receive() -> Any:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise PayloadTooLarge()
        return message

    return counting_receive
