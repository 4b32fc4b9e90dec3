"""The application of the program's container in this process, with some components replaced."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
from attrs import frozen

from cookcam.app import open_container
from cookcam.app.container import Container
from cookcam.app.program import build_app
from cookcam.config import Config
from cookcam.http import Routes
from cookcam.lifecycle.state import Lifecycle


@frozen
class ContainerApp:
    container: Container
    http: httpx.AsyncClient


@asynccontextmanager
async def open_app(
    settings: Config,
    replace: Callable[[Container], dict[str, Any]] = lambda _: {},
    extra_routes: Callable[[Container], Sequence[Routes]] = lambda _: (),
) -> AsyncIterator[ContainerApp]:
    """Open the program without listeners and background tasks, and an HTTP client of its app.

    `replace` returns the components to use instead of the usual ones, by name.
    """
    async with open_container(settings, Lifecycle()) as container:
        container.replace(**replace(container))
        app = build_app(container, [*container.routes(), *extra_routes(container)])
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://cookcam.test", timeout=30
        ) as http:
            yield ContainerApp(container, http)
