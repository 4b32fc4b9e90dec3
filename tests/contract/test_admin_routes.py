"""Every route for administrators: guests get 401, users 403, administrators are let through."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

from cookcam.app.program import open_services
from cookcam.config import load
from cookcam.http.routing import CANONICAL
from cookcam.lifecycle.state import Lifecycle
from tests.contract.server import ContractServer
from tests.support.environments import DEVELOPMENT


async def admin_routes() -> list[tuple[str, str]]:
    """Method and path of each, found in the router of the assembled program."""
    async with open_services(load(DEVELOPMENT), Lifecycle()) as services:
        edge: Any = services.app
        app = edge._app.app
        found: set[tuple[str, str]] = set()
        for rule in app.url_map.iter_rules():
            (method, *_) = sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
            match = app.router.match(method, rule.rule)
            if match.endpoint.options.administrators and rule.rule.startswith(CANONICAL):
                path = re.sub(r"<[^>]+>", str(uuid4()), rule.rule.removeprefix(CANONICAL))
                found.add((method, path))
        return sorted(found)


async def test_admin_routes_reject_guests_and_users(server: ContractServer) -> None:
    ann, admin = await server.person("Ann"), await server.person("Ada", role="admin")
    routes = await admin_routes()
    assert len(routes) >= 14
    wrong: list[str] = []
    for method, path in routes:
        for caller, expected in ((server.guest, 401), (ann, 403)):
            status = (await caller.request(method, path, json={})).status_code
            if status != expected:
                wrong.append(f"{method} {path}: {status}, not {expected}")
        status = (await admin.request(method, path, json={})).status_code
        if status in (401, 403):
            wrong.append(f"{method} {path}: {status} for an administrator")
    assert wrong == []
