"""Route options: what a route needs (body limit, deadline, rate limit, …), declared by decorators
on its view.

    @bp.post("/scan/analyze")
    @max_body(15 * MEBIBYTE)
    @deadline(55)
    async def analyze(...): ...

The options are an attribute of the view function, read once when the app is made.
`functools.wraps` copies it, so the order of the decorators does not matter. The edge matches a
request's route before it applies admission, quotas and the body limit, and reads them there.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Final, Literal, TypeVar

import msgspec
from attrs import frozen

F = TypeVar("F", bound=Callable[..., Any])

MEBIBYTE: Final = 1024 * 1024
DEFAULT_MAX_BODY: Final = 1 * MEBIBYTE

_ATTRIBUTE = "__cookcam_route_options__"


class Traffic(Enum):
    """How the edge treats the requests of a route."""

    ORDINARY = "ordinary"
    """Admission's ordinary queue; counted in the general quota of the client address."""
    WEBHOOK = "webhook"
    """Admission's webhook queue. Not in the general quota: a provider delivers from few
    addresses. The route itself counts deliveries that fail verification."""
    EXEMPT = "exempt"
    """No admission, no general quota, no trace, and an access line at debug level: probes, which
    must be answered under overload, and the Socket.IO transport, which has its own limits."""


@frozen
class Dialect:
    """How one endpoint words its errors.

    `flagged` adds `success: false`; `unexpected` is the `error` literal of a 500. `page` renders an
    error as HTML: it gets the AppError and the RequestInfo, and returns the response.
    """

    flagged: bool = False
    unexpected: str | None = None
    page: Callable[[Any, Any], Any] | None = None


class RouteOptions(msgspec.Struct, frozen=True):
    """The options of one route, with their defaults."""

    dialect: Dialect = Dialect()
    seconds: float | None = None
    max_body: int = DEFAULT_MAX_BODY
    traffic: Traffic = Traffic.ORDINARY
    rate_limit: str | None = None
    general_quota: bool = True
    in_maintenance: bool = False
    in_read_only: bool = False
    authentication: Literal["required", "optional"] | None = None
    administrators: bool = False
    conditional: bool = True
    hidden: bool = False
    body: type[Any] | None = None
    needs_one_field: bool = False
    query: tuple[dict[str, Any], ...] = ()
    query_model: type[Any] | None = None
    responses: dict[int, type[Any]] = {}  # msgspec copies it
    contents: tuple[tuple[int, str], ...] = ()
    empty: frozenset[int] = frozenset()
    headers: tuple[tuple[str, str], ...] = ()
    uploads: tuple[str, ...] = ()
    form_file: str | None = None
    failures: frozenset[int] = frozenset()


def route_options_of(view: Callable[..., Any]) -> RouteOptions:
    return getattr(view, _ATTRIBUTE, None) or RouteOptions()


def set_route_options(view: F, **options: Any) -> F:
    """Change the named options of `view`."""
    setattr(view, _ATTRIBUTE, msgspec.structs.replace(route_options_of(view), **options))
    return view


def errors_as(*, flagged: bool = False, unexpected: str | None = None) -> Callable[[F], F]:
    """Set the error dialect of a route (docs/errors.md)."""
    return lambda view: set_route_options(view, dialect=Dialect(flagged, unexpected))


def errors_as_page(render: Callable[[Any, Any], Any]) -> Callable[[F], F]:
    """Respond to errors with the pages of `render`, see `Dialect.page`."""
    return lambda view: set_route_options(view, dialect=Dialect(page=render))


def deadline(seconds: float) -> Callable[[F], F]:
    """Set the maximum time of one request, instead of `REQUEST_TIMEOUT_SECONDS`.

    `math.inf` is for a view that never waits: the app then creates no cancel scope for it.
    """
    return lambda view: set_route_options(view, seconds=seconds)


def max_body(size: int) -> Callable[[F], F]:
    """Set the maximum size of a request body in bytes; a larger one is a 413."""
    return lambda view: set_route_options(view, max_body=size)


def rate_limit(bucket: str) -> Callable[[F], F]:
    """Count each request of a route for its client address, before its body is read."""
    return lambda view: set_route_options(view, rate_limit=bucket)


def webhook(view: F) -> F:
    """Treat requests as deliveries of a provider, see `Traffic.WEBHOOK`."""
    return set_route_options(view, traffic=Traffic.WEBHOOK)


def probe(view: F) -> F:
    """Treat requests as those of a monitor, see `Traffic.EXEMPT`."""
    return set_route_options(view, traffic=Traffic.EXEMPT)


def serve_in_maintenance(view: F) -> F:
    """Serve a route in maintenance mode too: pages and routes of operators."""
    return set_route_options(view, in_maintenance=True)


def serve_in_read_only(view: F) -> F:
    """Serve a route in read-only mode although its method is not GET: it changes no data."""
    return set_route_options(view, in_read_only=True)


def hidden(view: F) -> F:
    """Leave a route out of the OpenAPI document."""
    return set_route_options(view, hidden=True)


def unconditional(view: F) -> F:
    """Send no ETag: the response differs each time, or is too cheap to be worth one."""
    return set_route_options(view, conditional=False)


def secured(view: F, *, optional: bool = False) -> F:
    """Declare that a route requires or accepts a bearer token. The guards call this."""
    return set_route_options(view, authentication="optional" if optional else "required")


def for_administrators(view: F) -> F:
    """Declare that a route is for administrators only. The guards call this."""
    return set_route_options(view, administrators=True)


def document_response(model: Any, status: int = 200) -> Callable[[F], F]:
    """Document `model` as the response with `status`, without checking it."""

    def decorate(view: F) -> F:
        responses = {**route_options_of(view).responses, status: model}
        return set_route_options(view, responses=responses)

    return decorate


def document_content(kind: str, status: int = 200) -> Callable[[F], F]:
    """Document a response that is not JSON by its content type, alone or beside the model."""

    def decorate(view: F) -> F:
        contents = (*route_options_of(view).contents, (status, kind))
        return set_route_options(view, contents=contents)

    return decorate


def document_empty(status: int) -> Callable[[F], F]:
    """Document a success without a body."""
    return lambda view: set_route_options(view, empty=route_options_of(view).empty | {status})


def document_header(name: str, description: str) -> Callable[[F], F]:
    """Document a header that successful responses have, or may have."""

    def decorate(view: F) -> F:
        headers = (*route_options_of(view).headers, (name, description))
        return set_route_options(view, headers=headers)

    return decorate


def document_upload(*kinds: str, field: str | None = None) -> Callable[[F], F]:
    """Document bodies that are a file: the bytes of one of `kinds`, or the `field` of a form."""
    return lambda view: set_route_options(view, uploads=kinds, form_file=field)


def document_failures(*statuses: int) -> Callable[[F], F]:
    """Document failures that do not follow from the other options."""

    def decorate(view: F) -> F:
        failures = route_options_of(view).failures | frozenset(statuses)
        return set_route_options(view, failures=failures)

    return decorate
