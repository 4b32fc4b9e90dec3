"""What the edge found out about a request, for everything inside it.

The edge puts one `RequestInfo` into `scope["state"]["cookcam"]`; the parts inside read it and
add what only they know: the app the route, the guards the user. The access line, the metrics and
every error body are made from it.
"""

from __future__ import annotations

from typing import Any, cast

from attrs import define
from quart import request

UNMATCHED = "unmatched"
"""The route of a request that no route took: a constant, since raw paths may hold anything."""

STATE_KEY = "cookcam"


@define
class RequestInfo:
    """One request. `started` is the clock of the run, seconds; `route` is the template.

    `quota` are the headers of the last quota that counted the request, `limited_by` is the bucket
    that rejected it.
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


def request_info_of(scope: Any) -> RequestInfo:
    """The facts of an ASGI scope; empty ones where no edge stands in front (a bare test)."""
    state = scope.get("state")
    found = state.get(STATE_KEY) if state else None
    if isinstance(found, RequestInfo):
        return found
    made = RequestInfo("", "", scope.get("method", ""), scope.get("path", ""), 0.0)
    scope["state"] = {**(state or {}), STATE_KEY: made}
    return made


def current_request_info() -> RequestInfo:
    """What the edge found out about the request that is being handled. RuntimeError outside."""
    return request_info_of(cast("Any", request).scope)
