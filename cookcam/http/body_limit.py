"""The maximum size of a request body, enforced before and while it is read.

The limit is the route's `max_body` option: 1 MiB unless the route declares another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from cookcam.errors import BadRequest, PayloadTooLarge

Receive = Callable[[], Awaitable[Any]]


def limited_receive(
    receive: Receive, limit: int, headers: Mapping[bytes, bytes], http_version: str
) -> Receive:
    """Return `receive` with a check that raises PayloadTooLarge after `limit` bytes of body.

    Raises PayloadTooLarge at once when the declared length exceeds the limit, and BadRequest when
    it is not a number. Received bytes are counted whatever was declared. Only an HTTP/1 request
    with neither a length nor a transfer coding has no body (RFC 9112 section 6.3).
    """
    declared = headers.get(b"content-length")
    if declared is None:
        if b"transfer-encoding" not in headers and http_version < "2":
            return receive
    elif not declared.isdigit():
        raise BadRequest("The Content-Length header is not a number")
    elif len(digits := declared.lstrip(b"0")) > 15 or int(digits or b"0") > limit:
        raise PayloadTooLarge()
    received = 0

    async def counting_receive() -> Any:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise PayloadTooLarge()
        return message

    return counting_receive
