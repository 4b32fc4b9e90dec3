"""Quart-Trio on Hypercorn as they come, with psycopg in threads: three routes of the product."""

from __future__ import annotations

from functools import partial
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from psycopg_pool import ConnectionPool
from quart import Response, request
from quart_trio import QuartTrio

from tests.benchmarks.twins.reading import (
    DATABASE,
    POOL_SIZE,
    PORT,
    PROFILE,
    RECIPES,
    Unauthorized,
    read_in_thread,
    recipe_list,
    to_json,
    verified,
)

app = QuartTrio("twin")
pool = ConnectionPool(
    DATABASE, min_size=POOL_SIZE, max_size=POOL_SIZE, kwargs={"autocommit": True}, open=False
)


@app.errorhandler(Unauthorized)
async def unauthorized(_: Unauthorized) -> tuple[str, int]:
    return "", 401


async def read(claims: dict[str, Any], role: str, statement: str) -> list[Any]:
    return await trio.to_thread.run_sync(partial(read_in_thread, pool, claims, role, statement))


def json_response(value: object) -> Response:
    return Response(to_json(value), content_type="application/json")


@app.get("/health")
async def health() -> Response:
    return json_response({"status": "healthy"})


@app.get("/api/v1/users/profile")
async def profile() -> Response:
    claims = verified(request.headers.get("Authorization"))
    rows = await read(claims, "service_role", PROFILE)
    return json_response(rows[0])


@app.get("/api/v1/recipes")
async def recipes() -> Response:
    claims = verified(request.headers.get("Authorization"))
    rows = await read(claims, "authenticated", RECIPES)
    return json_response(recipe_list(rows, claims))


def main() -> None:
    config = Config()
    config.bind = [f"127.0.0.1:{PORT}"]
    config.errorlog = None
    with pool:
        trio.run(serve, app, config)


if __name__ == "__main__":
    main()
