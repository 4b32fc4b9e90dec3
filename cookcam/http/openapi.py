"""Serves the OpenAPI 3.1 document, and the HTML pages of this document and of the socket events.

`cookcam.http.openapi_provider` builds the document from the route options, on the first request
and in a thread, since it imports Quart-Schema and pydantic. The pages are plain HTML, CSS and
JavaScript of this package: they need no network and fit the content security policy.

In production all need access to internal pages (`cookcam.http.internal`); others get the 404 of
an unknown path.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import trio
from quart import request

from cookcam.config import Config
from cookcam.errors import AuthenticationError
from cookcam.http.internal import require_internal
from cookcam.http.requests import Request
from cookcam.http.responses import JSON_TYPE, RawResponse, to_json
from cookcam.http.route_options import hidden
from cookcam.http.routing import ROOT, Routes, not_found
from cookcam.http.static_files import file_view, stylesheet_view, whole

if TYPE_CHECKING:
    from cookcam.http.app import CookCamApp

_STATIC = Path(__file__).parent / "static"

_HTML, _SCRIPT = b"text/html; charset=utf-8", b"text/javascript; charset=utf-8"

_PAGES: tuple[tuple[str, str, bytes], ...] = (
    ("/api-docs", "api-docs.html", _HTML),
    ("/api-docs/events", "events.html", _HTML),
    ("/api-docs/api-docs.js", "api-docs.js", _SCRIPT),
    ("/api-docs/events.js", "events.js", _SCRIPT),
    ("/api-docs/docs.js", "docs.js", _SCRIPT),
)


def openapi_document(app: CookCamApp, version: str) -> dict[str, Any]:
    """The document as plain data."""
    from cookcam.http.openapi_provider import build_document

    return build_document(app, version)


def document_routes(name: str, config: Config) -> tuple[Routes, Callable[[], None]]:
    """Routes of documents at the root, and the check that each view starts with.

    The check raises NotFound for those who may not see the documents of production.
    """

    def require_access() -> None:
        current = cast("Request", request)
        if config.environment == "production":
            try:
                require_internal(current, config.server.internal_api_keys)
            except AuthenticationError:
                raise not_found(current.method, current.path) from None

    return Routes(name, __name__, prefixes=(ROOT,)), require_access


def openapi_routes(app: CookCamApp, config: Config) -> Routes:
    """`/openapi.json`, `/api-docs`, and `/api-docs/events` for `/asyncapi.json`."""
    bp, require_access = document_routes("openapi", config)
    created: list[bytes] = []
    creating = trio.Lock()

    @bp.get("/openapi.json")
    @hidden
    async def document() -> RawResponse:
        require_access()
        async with creating:  # it takes a second of processor time
            if not created:
                plain = await trio.to_thread.run_sync(openapi_document, app, config.server.version)
                created[:] = [to_json(plain)]
        return whole(created[0], JSON_TYPE)

    for path, name, kind in _PAGES:
        view = file_view(_STATIC / name, kind, require_access)
        bp.add_url_rule(path, name.replace(".", "-"), view)
    style = stylesheet_view(_STATIC / "docs.css", require_access)
    bp.add_url_rule("/api-docs/docs.css", "docs-css", style)
    return bp
