"""What the edge determines about a request, for everything inside it.

The edge stores one `RequestInfo` in `scope["state"]["cookcam"]`. Inner parts read it and add what
only they know: the app the route, the guards the user. The access line, the metrics and every
error body are made from it.
"""

from __future__ import annotations

from typing import Any, cast

from attrs import define, field
from quart import request

from cookcam.http.routing import Match

UNMATCHED = "unmatched"
"""The route of a request that no route took: a constant, since raw paths may hold anything."""

STATE_KEY = "cookcam"


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
