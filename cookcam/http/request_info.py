"""What the edge determines about a request, for everything inside it.

The edge stores one `RequestInfo` in `scope["state"]["cookcam"]`. Inner parts read it and add what
only they know: the app the route, the guards the user. The access line, the metrics and every
error body are made from it.
"""

from __future__ import annotations

import os
import re
from typing import Any, cast

from attrs import define, field
from quart import request

from cookcam.http.routing import Match

UNMATCHED = "unmatched"
"""The route of a request that no route took: a constant, since raw paths may hold anything."""

STATE_KEY = "cookcam"

REQUEST_ID_HEADER = b"x-request-id"

_well_formed = re.compile(rb"[A-Za-z0-9._-]{1,128}").fullmatch


@define
class RequestInfo:
    """One request.

    `started` is Trio's clock in seconds. `match` is the route that the edge matched, None for an
    unknown path. `route` is the template of the route that serves the request; a request that the
    edge rejects has none. `quota` are the headers of the last quota that counted the request,
    `limited_by` is the bucket that rejected it. `attempted_account` is the e-mail address of a
    sign-in, for the security log.
    """

    request_id: str
    client_address: str
    method: str
    path: str
    started: float
    route: str = UNMATCHED
    user_id: str | None = None
    quota: tuple[tuple[bytes, bytes], ...] = ()
    limited_by: str | None = None
    match: Match | None = None
    attempted_account: str | None = field(default=None, repr=False)


def request_info_of(scope: Any) -> RequestInfo:
    """The request info of an ASGI scope; an empty one without an edge (in a test of the app)."""
    state = scope.get("state")
    stored = state.get(STATE_KEY) if state else None
    if isinstance(stored, RequestInfo):
        return stored
    created = RequestInfo("", "", scope.get("method", ""), scope.get("path", ""), 0.0)
    scope["state"] = {**(state or {}), STATE_KEY: created}
    return created


def current_request_info() -> RequestInfo:
    """The info of the request that is being handled. Raises RuntimeError outside of one."""
    return request_info_of(cast("Any", request).scope)


def request_id(offered: bytes | None) -> str:
    """The offered id if it is 1 to 128 characters of `[A-Za-z0-9._-]`, else a new UUID v4.

    The id goes into headers, log lines and error bodies: only characters that are harmless in all
    three are accepted.
    """
    if offered is not None and _well_formed(offered):
        return offered.decode("ascii")
    return new_request_id()


def new_request_id() -> str:
    """A random UUID (version 4) as text; made by hand since uuid.uuid4 costs four times this."""
    h = os.urandom(16).hex()
    variant = "89ab"[int(h[16], 16) & 3]
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{variant}{h[17:20]}-{h[20:]}"
