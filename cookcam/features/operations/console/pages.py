"""The HTML of the console: pages from templates, in which every value is escaped."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cookcam.errors import AppError
from cookcam.http.request_info import RequestInfo
from cookcam.http.responses import RawResponse, time_text
from cookcam.http.security_headers import Header
from cookcam.identity.console_cookie import CONSOLE
from cookcam.lifecycle.task_rows import duration

SIGN_IN: Final = f"{CONSOLE}/sign-in"

_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    b" connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Applies beside that of all responses: neither inline scripts nor inline styles."""

Tone = Literal["ok", "failed"]


def page(template: str, status: int = 200, *headers: Header, **values: Any) -> RawResponse:
    """A page of the console."""
    body = render(f"{template}.html", **values).encode()
    return RawResponse(
        status,
        [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            (b"content-security-policy", _POLICY),
            *headers,
        ],
        body,
    )


def redirect(path: str, *headers: Header) -> RawResponse:
    """303: the browser reads `path` next."""
    location = (b"location", path.encode())
    return RawResponse(303, [location, (b"content-length", b"0"), *headers], b"")


def result_page(message: str, status: int = 200, tone: Tone = "ok") -> RawResponse:
    """The outcome of an action. The script shows its text on the page that it is on."""
    return page("result", status, message=message, tone=tone)


def error_page(error: AppError, request_info: RequestInfo) -> RawResponse:
    """The response to a failure; without a session, the way to the sign-in."""
    if request_info.path == SIGN_IN:
        return page("sign_in", error.status, message=error.message)
    if error.status == 401 and request_info.method == "GET":
        return redirect(SIGN_IN)
    return result_page(error.message, error.status, "failed")


def render(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(values)


def _time(value: datetime | float) -> Markup:
    """A time in UTC; a number is Unix time."""
    at = value if isinstance(value, datetime) else datetime.fromtimestamp(value, UTC)
    text = f"{at.astimezone(UTC):%d %b %H:%M:%S}"
    return Markup('<time datetime="{}">{}</time>').format(time_text(at), text)


@cache
def _environment() -> Environment:
    environment: Any = Environment(
        loader=PackageLoader("cookcam.features.operations.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(time=_time, duration=duration)
    return environment
