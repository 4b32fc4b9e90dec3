"""FastAPI on uvicorn[standard] with psycopg's asynchronous pool: three routes of the product."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from psycopg_pool import AsyncConnectionPool

from tests.benchmarks.twins.reading import (
    DATABASE,
    POOL_SIZE,
    PORT,
    PROFILE,
    RECIPES,
    Unauthorized,
    read_asyncio,
    recipe_list,
    to_json,
    verified,
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with AsyncConnectionPool(
        DATABASE, min_size=POOL_SIZE, max_size=POOL_SIZE, kwargs={"autocommit": True}
    ) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan, openapi_url=None)


async def signed_in(request: Request) -> dict[str, object]:
    # Asynchronous: FastAPI would run it in a thread otherwise, which costs more than the check.
    try:
        return verified(request.headers.get("authorization"))
    except Unauthorized as error:
        raise HTTPException(401) from error


Caller = Annotated[dict[str, object], Depends(signed_in)]


def json_response(value: object) -> Response:
    return Response(to_json(value), media_type="application/json")


@app.get("/health")
async def health() -> Response:
    return json_response({"status": "healthy"})


@app.get("/api/v1/users/profile")
async def profile(claims: Caller) -> Response:
    rows = await read_asyncio(app.state.pool, claims, "service_role", PROFILE)
    return json_response(rows[0])


@app.get("/api/v1/recipes")
async def recipes(claims: Caller) -> Response:
    rows = await read_asyncio(app.state.pool, claims, "authenticated", RECIPES)
    return json_response(recipe_list(rows, claims))


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning", access_log=False)
