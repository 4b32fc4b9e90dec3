"""Views of files that belong to the program: pages, scripts and styles that need no network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from cookcam.http.responses import RawResponse
from cookcam.http.route_options import hidden

_THEME = Path(__file__).parent / "static" / "theme.css"


def file_view(path: Path, kind: bytes, check: Callable[[], None] = lambda: None) -> Any:
    """A view that sends a file as content type `kind`, after `check`, which may raise."""

    @hidden
    async def view() -> RawResponse:
        check()
        return whole(await trio.Path(path).read_bytes(), kind)

    return view


def stylesheet_view(path: Path, check: Callable[[], None] = lambda: None) -> Any:
    """`file_view` of a style sheet, after the rules that all pages share."""

    @hidden
    async def view() -> RawResponse:
        check()
        sheets = [await trio.Path(sheet).read_bytes() for sheet in (_THEME, path)]
        return whole(b"".join(sheets), b"text/css; charset=utf-8")

    return view


def whole(body: bytes, kind: bytes) -> RawResponse:
    """A response of content type `kind`."""
    return RawResponse(200, [(b"content-type", kind), (b"content-length", b"%d" % len(body))], body)
