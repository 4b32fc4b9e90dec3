"""The OpenAPI 3.1 document, made from the routes, and the routes that serve it and its page.

Source: `spec/http-api-core.md` §17. Quart-Schema builds the operations from our marks
(`cookcam.http.openapi_provider`). The document is made when first asked for, in a thread, since
that imports Quart-Schema and pydantic. The page is plain HTML, CSS and JavaScript of this package:
it works without a network and within the content security policy of every other answer.

In production both are for those who may see the inside (`cookcam.http.internal`): the public gets
the 404 of an unknown path.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import trio
from quart import request

from cookcam.config import Config
from cookcam.errors import AuthenticationError
from cookcam.http.internal import require_internal
from cookcam.http.paths import ROOT
from cookcam.http.requests import Request
from cookcam.http.responses import JSON_TYPE, RawResponse, to_json
from cookcam.http.route_options import hidden
from cookcam.http.routing import Routes, not_found

if TYPE_CHECKING:
    from cookcam.http.app import CookCamApp

_STATIC = Path(__file__).parent / "static"

_PAGE: tuple[tuple[str, str, bytes], ...] = (
    ("/api-docs", "api-docs.html", b"text/html; charset=utf-8"),
    ("/api-docs/api-docs.js", "api-docs.js", b"text/javascript; charset=utf-8"),
    ("/api-docs/api-docs.css", "api-docs.css", b"text/css; charset=utf-8"),
)


def openapi_document(app: CookCamApp, version: str) -> dict[str, Any]:
    """The document as plain data."""
    from cookcam.http.openapi_provider import build_document

    return build_document(app, version)


def openapi_routes(app: CookCamApp, config: Config) -> Routes:
    """`/openapi.json` and `/api-docs`."""
    bp = Routes("openapi", __name__, prefixes=(ROOT,))
    made: list[bytes] = []

    def admit() -> None:
        asked = cast("Request", request)
        if config.environment == "production":
            try:
                require_internal(asked, config.server.internal_api_key)
            except AuthenticationError:
                raise not_found(asked.method, asked.path) from None

    @bp.get("/openapi.json")
    @hidden
    async def document() -> RawResponse:
        admit()
        if not made:
            plain = await trio.to_thread.run_sync(openapi_document, app, config.server.version)
            made[:] = [to_json(plain)]
        return _file(made[0], JSON_TYPE)

    for path, name, kind in _PAGE:
        bp.add_url_rule(path, name.replace(".", "-"), _page_view(admit, _STATIC / name, kind))
    return bp


def _page_view(admit: Any, path: Path, kind: bytes) -> Any:
    @hidden
    async def page() -> RawResponse:
        admit()
        return _file(await trio.Path(path).read_bytes(), kind)

    return page


def _file(body: bytes, kind: bytes) -> RawResponse:
    return RawResponse(200, [(b"content-type", kind), (b"content-length", b"%d" % len(body))], body)
