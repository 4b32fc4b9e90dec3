"""Marks: what a route says about itself, read once when the app is made.

A mark is an attribute of the view function. `functools.wraps` copies it, so the order of the
decorators does not matter, and a mark costs nothing while requests are served.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import evolve, field, frozen

F = TypeVar("F", bound=Callable[..., Any])

_MARKS = "__cookcam_marks__"
SECURED = "__cookcam_secured__"
"""The attribute by which a guard tells that it wants a bearer token."""


@frozen
class Dialect:
    """How one endpoint words its errors.

    `flagged` adds `success: false`; `unexpected` is the `error` literal of a 500.
    """

    flagged: bool = False
    unexpected: str | None = None


@frozen
class RouteOptions:
    """All that can be said about a route; what was not said has these values."""

    dialect: Dialect = Dialect()
    seconds: float | None = None
    hidden: bool = False
    conditional: bool = True
    body: type[Any] | None = None
    body_has_known_field: bool = False
    query: tuple[dict[str, Any], ...] = ()
    query_model: type[Any] | None = None
    responses: dict[int, type[Any]] = field(factory=dict[int, type[Any]])
    contents: tuple[tuple[int, str], ...] = ()
    empty: frozenset[int] = frozenset()
    headers: tuple[tuple[str, str], ...] = ()
    uploads: tuple[str, ...] = ()
    form_file: str | None = None
    failures: frozenset[int] = frozenset()
    address_limit: str | None = None


def route_options_of(view: Callable[..., Any]) -> RouteOptions:
    return getattr(view, _MARKS, None) or RouteOptions()


def mark(view: F, **said: Any) -> F:
    """Adds to what `view` says about itself."""
    setattr(view, _MARKS, evolve(route_options_of(view), **said))
    return view


def errors_as(*, flagged: bool = False, unexpected: str | None = None) -> Callable[[F], F]:
    """The dialect of the errors of a route, `spec/http-api-core.md` §2."""
    return lambda view: mark(view, dialect=Dialect(flagged, unexpected))


def deadline(seconds: float) -> Callable[[F], F]:
    """The time one request of this route may take, instead of `REQUEST_TIMEOUT_SECONDS`.

    `math.inf` is for a view that awaits nothing: it is spared the making of a cancel scope.
    """
    return lambda view: mark(view, seconds=seconds)


def hidden(view: F) -> F:
    """Leaves a route out of the OpenAPI document."""
    return mark(view, hidden=True)


def unconditional(view: F) -> F:
    """No ETag: the answer differs each time, or is too cheap to be worth one."""
    return mark(view, conditional=False)


def document_response(model: Any, status: int = 200) -> Callable[[F], F]:
    """Documents `model` as the answer with `status`, and checks nothing."""
    return lambda view: mark(view, responses={**route_options_of(view).responses, status: model})


def document_content(kind: str, status: int = 200) -> Callable[[F], F]:
    """Documents an answer that is no JSON, by its content type, alone or beside the model."""
    return lambda view: mark(view, contents=(*route_options_of(view).contents, (status, kind)))


def document_empty(status: int) -> Callable[[F], F]:
    """Documents a success that has no body."""
    return lambda view: mark(view, empty=route_options_of(view).empty | {status})


def document_header(name: str, description: str) -> Callable[[F], F]:
    """Documents a header that successful responses of the route have, or may have."""
    return lambda view: mark(view, headers=(*route_options_of(view).headers, (name, description)))


def document_upload(*kinds: str, field: str | None = None) -> Callable[[F], F]:
    """Documents bodies that are a file: the bytes of one of `kinds`, or the `field` of a form."""
    return lambda view: mark(view, uploads=kinds, form_file=field)


def document_failures(*statuses: int) -> Callable[[F], F]:
    """Documents failures of the route that do not follow from what else it says of itself."""
    return lambda view: mark(view, failures=route_options_of(view).failures | frozenset(statuses))


def secured(view: F, *, optional: bool = False) -> F:
    """Documents that a route wants, or takes, a bearer token; guards do this themselves."""
    setattr(view, SECURED, "optional" if optional else "required")
    return view
