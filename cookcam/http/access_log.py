"""The access log: one line and one measurement per request.

The line has `statusCode`, `duration` (ms) and `bytes`;
`requestId`, `method`, `path` (the route template, never the raw path) and `userId` come from the
log context. Probes and the Socket.IO transport are logged at debug level.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field

from cookcam.http.request_info import RequestInfo
from cookcam.observability.logging import get_logger
from cookcam.observability.metrics import Metrics

log = get_logger(__name__)

CLIENT_CLOSED_REQUEST = 499
"""The status in the log of a request that was cancelled before its response."""


@define(eq=False)
class AccessLog:
    """Logs and measures finished requests. `clock` is the clock of `RequestInfo.started`."""

    clock: Callable[[], float]
    metrics: Metrics | None
    # Bound once: an unbound logger looks up its configuration for each line.
    _log: Any = field(factory=log.bind, eq=False)

    _in_flight: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        if self.metrics is not None:
            self.metrics.http_requests_in_flight.set_function(lambda: self._in_flight)

    def started(self) -> None:
        self._in_flight += 1

    def finished(self, request_info: RequestInfo, status: int, size: int, *, quiet: bool) -> None:
        """`status` is 0 when no response was begun; `size` is the bytes of the body."""
        self._in_flight -= 1
        seconds = self.clock() - request_info.started
        status = status or CLIENT_CLOSED_REQUEST
        if self.metrics is not None:
            self.metrics.record_response(request_info.route, request_info.method, status, seconds)
            if request_info.limited_by is not None:
                self.metrics.rate_limited_total.of(request_info.limited_by).inc()
        write = self._log.debug if quiet else self._log.info
        write("request", statusCode=status, duration=round(seconds * 1000, 1), bytes=size)
