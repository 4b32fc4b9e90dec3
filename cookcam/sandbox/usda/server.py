"""The fake on a listener: paths, keys, quota and errors of FoodData Central."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio
from attrs import define, field, frozen
from quart import Response, request

from cookcam.sandbox.serving import FakeServerApp, HttpFaults, Listener, json_response
from cookcam.sandbox.usda.foods import Food, foods, search_foods

API_KEY = "sandbox-usda-key"
MAX_PAGE_SIZE = 200
QUOTA = 1000
HOUR = 3600.0


@define
class Behaviour(HttpFaults):
    """`remaining` is what is left of the hour's quota.

    Responses beyond it have the Retry-After `quota_retry_after`.
    """

    remaining: int = QUOTA
    quota_retry_after: int | None = 1800


@frozen
class FakeUsda:
    """A running fake: `url` is what `USDA_API_BASE_URL` has to be."""

    url: str
    api_key: str = field(repr=False)
    behaviour: Behaviour


@asynccontextmanager
async def open_usda(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    api_key: str = API_KEY,
    behaviour: Behaviour | None = None,
) -> AsyncGenerator[FakeUsda]:
    """Serve the fake until the block ends; it is ready when the block begins.

    Port 0 takes a free one. Raises OSError when the port is taken.
    """
    behaviour = behaviour or Behaviour()
    listener = Listener.open(host, port)
    async with listener.serving(create_app(api_key, behaviour)):
        yield FakeUsda(f"{listener.url}/fdc/v1", api_key, behaviour)


def create_app(api_key: str, behaviour: Behaviour) -> FakeServerApp:
    app = FakeServerApp("cookcam.sandbox.usda")
    _gateway(app, api_key, behaviour)
    _foods(app, foods())
    return app


def _gateway(app: FakeServerApp, api_key: str, behaviour: Behaviour) -> None:
    """The gateway api.data.gov: keys, quota and staged faults."""
    hour_ends = trio.current_time() + HOUR
    behaviour.apply_to(app)

    @app.before_request
    async def admit() -> Response | None:
        nonlocal hour_ends
        if trio.current_time() >= hour_ends:
            hour_ends, behaviour.remaining = trio.current_time() + HOUR, QUOTA
        given = request.headers.get("X-Api-Key") or request.args.get("api_key")
        if not given:
            return _rejection(403, "API_KEY_MISSING", "No api_key was supplied.")
        if given != api_key:
            return _rejection(403, "API_KEY_INVALID", "An invalid api_key was supplied.")
        if behaviour.remaining <= 0:
            rejection = _rejection(429, "OVER_RATE_LIMIT", "You have exceeded your rate limit.")
            if behaviour.quota_retry_after is not None:
                rejection.headers["Retry-After"] = str(behaviour.quota_retry_after)
            return rejection
        behaviour.remaining -= 1
        return None

    @app.after_request
    async def add_quota_headers(response: Response) -> Response:
        response.headers["X-RateLimit-Limit"] = str(QUOTA)
        response.headers["X-RateLimit-Remaining"] = str(max(0, behaviour.remaining))
        return response


def _foods(app: FakeServerApp, catalogue: list[Food]) -> None:
    by_id = {food.fdc_id: food for food in catalogue}

    @app.get("/fdc/v1/foods/search")
    async def search() -> Response:
        query = request.args.get("query", "").strip()
        if not query:
            return json_response({"status": 400, "error": "Bad Request", "message": "query"}, 400)
        size = _integer("pageSize", 50, MAX_PAGE_SIZE)
        page = _integer("pageNumber", 1, 10_000)
        data_types = [
            part.strip() for text in request.args.getlist("dataType") for part in text.split(",")
        ]
        hits = search_foods(catalogue, query, [kind for kind in data_types if kind])
        pages = -(-len(hits) // size)
        return json_response(
            {
                "totalHits": len(hits),
                "currentPage": page,
                "totalPages": pages,
                "pageList": list(range(1, min(pages, 10) + 1)),
                "foodSearchCriteria": {"query": query, "pageNumber": page, "pageSize": size},
                "foods": hits[(page - 1) * size : page * size],
            }
        )

    @app.get("/fdc/v1/food/<int:fdc_id>")
    async def food(fdc_id: int) -> Response:
        one = by_id.get(fdc_id)
        if one is None:
            return json_response({"status": 404, "error": "Not Found"}, 404)
        return json_response(one.in_full())


def _integer(name: str, default: int, highest: int) -> int:
    text = request.args.get(name, "")
    return min(highest, max(1, int(text))) if text.isdecimal() and len(text) < 9 else default


def _rejection(status: int, code: str, message: str) -> Response:
    return json_response({"error": {"code": code, "message": message}}, status)
