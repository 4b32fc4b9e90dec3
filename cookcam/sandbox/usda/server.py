"""The stand-in on a listener: paths, keys, quota and errors of FoodData Central."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import trio
from attrs import define, field, frozen
from quart import Response, request
from quart_trio import QuartTrio

from cookcam.sandbox.listening import Listener
from cookcam.sandbox.usda.foods import Food, foods, found

API_KEY = "sandbox-usda-key"
MAX_PAGE_SIZE = 200
QUOTA = 1000
HOUR = 3600.0


@define
class Behaviour:
    """What a test may change while the stand-in runs.

    `delay` is in seconds. While `failures` is above 0, answers have `status` and count it down;
    `garbled` answers are cut in the middle. `remaining` is what is left of the hour's quota.
    """

    delay: float = 0.0
    failures: int = 0
    status: int = 500
    garbled: bool = False
    remaining: int = QUOTA
    retry_after: int | None = 1800
    requests: list[str] = field(factory=list[str])


@frozen
class FakeUsda:
    """A running stand-in: `url` is what `USDA_API_BASE_URL` has to be."""

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
    """Serves the stand-in until the block ends; it answers when the block begins.

    Port 0 takes a free one. Raises OSError when the port is taken.
    """
    behaviour = behaviour or Behaviour()
    listener = Listener.open(host, port)
    async with listener.serving(create_app(api_key, behaviour)):
        yield FakeUsda(f"{listener.url}/fdc/v1", api_key, behaviour)


def create_app(api_key: str, behaviour: Behaviour) -> QuartTrio:
    app = QuartTrio("cookcam.sandbox.usda")
    known = foods()
    _gateway(app, api_key, behaviour)
    _foods(app, known, behaviour)
    return app


def _gateway(app: QuartTrio, api_key: str, behaviour: Behaviour) -> None:
    """What api.data.gov does before a request reaches the service."""
    hour_ends = trio.current_time() + HOUR

    @app.before_request
    async def admit() -> Response | None:
        nonlocal hour_ends
        if trio.current_time() >= hour_ends:
            hour_ends, behaviour.remaining = trio.current_time() + HOUR, QUOTA
        behaviour.requests.append(request.path)
        given = request.headers.get("X-Api-Key") or request.args.get("api_key")
        if not given:
            return _refusal(403, "API_KEY_MISSING", "No api_key was supplied.")
        if given != api_key:
            return _refusal(403, "API_KEY_INVALID", "An invalid api_key was supplied.")
        if behaviour.delay:
            await trio.sleep(behaviour.delay)
        if behaviour.failures > 0:
            behaviour.failures -= 1
            return Response("upstream trouble", status=behaviour.status)
        if behaviour.remaining <= 0:
            refusal = _refusal(429, "OVER_RATE_LIMIT", "You have exceeded your rate limit.")
            if behaviour.retry_after is not None:
                refusal.headers["Retry-After"] = str(behaviour.retry_after)
            return refusal
        behaviour.remaining -= 1
        return None

    @app.after_request
    async def tell_quota(response: Response) -> Response:
        response.headers["X-RateLimit-Limit"] = str(QUOTA)
        response.headers["X-RateLimit-Remaining"] = str(max(0, behaviour.remaining))
        return response


def _foods(app: QuartTrio, known: list[Food], behaviour: Behaviour) -> None:
    by_id = {food.fdc_id: food for food in known}

    def answer(body: Any, status: int = 200) -> Response:
        content = orjson.dumps(body)
        if behaviour.garbled:
            content = content[: len(content) // 2]
        return Response(content, status=status, content_type="application/json")

    @app.get("/fdc/v1/foods/search")
    async def search() -> Response:
        query = request.args.get("query", "").strip()
        if not query:
            return answer({"status": 400, "error": "Bad Request", "message": "query"}, 400)
        size = _integer("pageSize", 50, MAX_PAGE_SIZE)
        page = _integer("pageNumber", 1, 10_000)
        data_types = [
            part.strip() for text in request.args.getlist("dataType") for part in text.split(",")
        ]
        hits = found(known, query, [kind for kind in data_types if kind])
        pages = -(-len(hits) // size)
        return answer(
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
            return answer({"status": 404, "error": "Not Found"}, 404)
        return answer(one.in_full())


def _integer(name: str, default: int, highest: int) -> int:
    text = request.args.get(name, "")
    return min(highest, max(1, int(text))) if text.isdecimal() and len(text) < 9 else default


def _refusal(status: int, code: str, message: str) -> Response:
    body = {"error": {"code": code, "message": message}}
    return Response(orjson.dumps(body), status=status, content_type="application/json")
