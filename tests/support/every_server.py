"""The ASGI servers our protocol layers must work under: plain Hypercorn, and our own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from cookcam.realtime.engineio import ASGIApp
from tests.support import serving


@asynccontextmanager
async def plain_hypercorn(app: ASGIApp) -> AsyncIterator[str]:
    """Serves until left; gives `127.0.0.1:port`."""
    async with serving.plain_hypercorn(app) as port:
        yield f"127.0.0.1:{port}"


@asynccontextmanager
async def cookcam_serving(app: ASGIApp) -> AsyncIterator[str]:
    """Serves until left; gives `127.0.0.1:port`."""
    async with serving.our_server(app) as (port, _):
        yield f"127.0.0.1:{port}"


EVERY_SERVER = [
    pytest.param(plain_hypercorn, id="plain Hypercorn"),
    pytest.param(cookcam_serving, id="cookcam.serving"),
]
